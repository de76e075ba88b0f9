"""`python -m edgeproof.pipeline` is the `edgeproof` command."""

from .cli import main

main()
