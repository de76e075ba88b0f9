"""The recipe and the run: command line, commands, store, gates, reports, bundles."""
