"""Starter files: a commented recipe for one's own model and images, and what a repository needs for a gate."""
