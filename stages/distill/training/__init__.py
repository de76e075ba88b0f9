"""The training loop that all methods share: batches, optimiser steps, averaging, checkpoint selection, resume."""
