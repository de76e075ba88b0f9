"""Foundations: errors, registries, user functions, model files, config base, files and processes."""
