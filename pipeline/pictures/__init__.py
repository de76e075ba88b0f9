"""Pictures of a finished run: its adversarial examples as image files."""
