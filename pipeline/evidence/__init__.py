"""Evidence of a finished run, for auditors and policy engines."""
