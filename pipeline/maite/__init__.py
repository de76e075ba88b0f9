"""MAITE's protocols: engines and data sets as the test and evaluation tools of that standard take them."""
