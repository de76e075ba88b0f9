"""The work: one module or folder per stage, and what the stages share."""
