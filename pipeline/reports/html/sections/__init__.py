"""The sections of the page, in their order; each makes a `Section`, or None where the run has nothing for it."""

from __future__ import annotations

from collections.abc import Callable

from ..blocks import Section
from ..run import RunView
from .classes import classes_section
from .corruptions import corruptions_section
from .curve import curve_section
from .devices import devices_section
from .engines import engines_section
from .examples import examples_section
from .findings import findings_section
from .layers import layers_section
from .ledger import ledger_section
from .provenance import provenance_section
from .quantization import quantization_section
from .routes import routes_section
from .speed import speed_section
from .training import training_section

SECTIONS: tuple[Callable[[RunView], Section | None], ...] = (
    engines_section,
    ledger_section,
    findings_section,
    devices_section,
    routes_section,
    curve_section,
    classes_section,
    examples_section,
    corruptions_section,
    speed_section,
    layers_section,
    quantization_section,
    training_section,
    provenance_section,
)
