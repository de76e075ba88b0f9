"""The recipe: read, validated, and its JSON Schema."""
