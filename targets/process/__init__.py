"""Engines in a process of their own: guarded against crashes and hangs, watched, or timed."""
