"""Intervals, tests and sample sizes, free of heavy imports: a gate on finished bits answers in under a second."""
