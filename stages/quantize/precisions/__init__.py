"""Precisions, one file each."""
