"""`python -m edgeproof` is the `edgeproof` command."""

import os
import sys

# `python -m` looks in the working directory first, where a `numpy.py` of the user's would take the installed one's
# place. The user's own functions are found there all the same.
if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd():
    del sys.path[0]

from edgeproof.pipeline.cli.main import main  # pyright: ignore[reportMissingImports]  (beside us here, below us where installed)

main()
