"""Deployment bundle: a finished run carried to a device, replayed there, and its verdict brought back."""
