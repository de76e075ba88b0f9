"""The runtimes: one module or folder per runtime behind one protocol."""
