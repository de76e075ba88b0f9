"""Mixed precision: int8, but for the layers that robustness needs in float."""

from __future__ import annotations

from .base import Job, Precision, precisions


class Mixed(Precision):
    """int8, but for the layers that robustness needs in float, as attacks on the validation split tell."""

    name = "mixed"
    measured = True

    def make(self, job: Job) -> None:
        """Take the fastest assignment that reaches the limits; see `stages/mixed`."""
        from ...mixed import assign  # which is made of precisions

        assign(job)


precisions.register("mixed")(Mixed())
