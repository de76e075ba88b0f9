"""Automatic precision: whichever is fastest here and good enough."""

from __future__ import annotations

from .base import Job, Precision, precisions
from .fp16 import Fp16
from .fp32 import Fp32


class Auto(Precision):
    """Whichever of int8, mixed, fp16 and fp32 is fastest here and good enough on the validation split."""

    name = "auto"
    measured = True

    def make(self, job: Job) -> None:
        """Take the fastest candidate that reaches the limits; see `stages/mixed`."""
        from ...mixed import assign  # which is made of precisions

        assign(job, others=(Fp16(), Fp32()))


precisions.register("auto")(Auto())
