"""The checks, one file each: what the verifier holds against its own result."""
