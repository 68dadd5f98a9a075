"""Pure functions on arrays and features: how far apart, how alike. Nothing here knows a model or a data set.

What cannot be computed raises ValueError; whoever has it from a user refuses it before, in the user's terms.
"""
