"""Deployment targets: one module or folder per runtime behind one protocol."""
