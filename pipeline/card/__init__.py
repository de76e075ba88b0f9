"""Model card of a finished run, in the format of the Hugging Face hub."""
