# R side of bridge/r_objects.py: R objects in plain pieces. Functions only, evaluated beside those of helpers.R.
