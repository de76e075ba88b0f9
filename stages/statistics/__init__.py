"""Statistics: intervals, tests and sample sizes, free of heavy imports so that a gate answers in under a second."""
