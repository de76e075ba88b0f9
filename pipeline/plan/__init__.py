"""Plan of a run (`--dry-run`): its stages, what is there already, and what the rest would take; nothing is written."""
