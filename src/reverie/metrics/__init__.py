"""Pure functions on arrays and features: how far apart, how alike. Nothing here knows a model or a data set."""
