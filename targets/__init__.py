"""The runtimes: one module per runtime behind one protocol."""
