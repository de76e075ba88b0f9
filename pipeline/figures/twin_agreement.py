"""Agreement of an engine with the differentiable twin that its gradients come from."""

from __future__ import annotations

from .base import Figure, register
from .reading import number

register(
    *(
        Figure(
            f"twin_agreement_{kind}",
            f"agreement of twin and engine on {kind} images",
            "number",
            number("twin_agreement", kind),
            help=f"share of the {kind} images on which twin and engine give one label",
            advice="The gradients come from a twin that is not the engine: see the warnings for where they part.",
            place=place,
        )
        for kind, place in (("clean", 70), ("adversarial", 71))
    )
)
