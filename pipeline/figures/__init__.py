"""Figures of merit: the table of what gates can be set on and ledgers show, one row a figure."""
