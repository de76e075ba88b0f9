"""Sharding: the unit of work, the process pool, several machines, sequential looks."""
