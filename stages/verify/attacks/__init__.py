"""Attack algorithms: AutoAttack's four, their fast and batched forms, and a random search."""
