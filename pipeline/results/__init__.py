"""Results of a run: the report and what devices say of it."""
