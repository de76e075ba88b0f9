"""Files that are written: what of them goes away again, whatever happens."""
