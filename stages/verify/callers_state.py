"""Global state of torch and numpy, given back to the caller: random numbers, threads, matrix precision."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def callers_state() -> Iterator[None]:
    """Leave random number generators, thread count and TF32 flags as they were: attacks seed and set them.

    Within, gradients are on and numbers are float32, whatever the caller's own modes are.
    """
    states, numbers, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()),
        ):
            yield
    finally:
        random.setstate(states)
        np.random.set_state(numbers)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags
