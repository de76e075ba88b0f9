"""The recipe and the run: schema, stage order, store, gate, reports, command line."""
