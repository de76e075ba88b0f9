"""Latency: engines timed side by side, and ratios of their medians with intervals."""
