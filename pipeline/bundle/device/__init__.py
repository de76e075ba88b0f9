"""A bundle on its device: replay, report, and the way back into the run."""
