"""Pure functions on arrays and features that measure distance or similarity; independent of models and data sets.

Invalid input raises ValueError; callers with input of a user check it first, with an error in the user's terms.
"""
