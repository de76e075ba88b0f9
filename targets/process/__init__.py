"""Process isolation: engines guarded against crashes and hangs, watched, or timed."""
