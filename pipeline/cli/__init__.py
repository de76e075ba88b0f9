"""The commands of the command line. Heavy imports happen inside them, so that `--help` answers at once."""
