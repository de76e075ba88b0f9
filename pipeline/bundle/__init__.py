"""A finished run as one folder or archive: carried to a device, replayed there, and its verdict brought back."""
