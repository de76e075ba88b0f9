"""Norms of threat models, one file each."""
