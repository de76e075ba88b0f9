"""Position of a running shard: its attack, the samples left, the share of its work that is done.

The shard writes it into a small file several times a second, from whichever process it runs in; who shows progress
reads it. No attack knows whether anybody does, and none of its answers, random numbers or steps depend on it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

# Seconds between two writes.
_OFTEN = 0.2
# What a shard does after its attacks.
CHECKS = "checks"
# What routes and attacks take beside each other, in seconds of the INT8 digits student (`attack.json` has them); what
# is not listed takes _OTHER. They only divide a bar.
COSTS: Mapping[str, float] = {
    "replay": 0.1,
    "whitebox": 20,
    "probe": 3,
    "square": 4,
    "apgd-ce": 1.5,
    "apgd-t": 8,
    "fab-t": 6,
    CHECKS: 3,
}
_OTHER = 4.0


@dataclass(frozen=True)
class Position:
    """Where a shard is.

    Attributes:
        attack: the attack that runs, or the route where that has no name of its own.
        samples: how many the shard has.
        left: how many of them stand still.
        share: of its work that is done, 0 to 1.
    """

    attack: str
    samples: int
    left: int
    share: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Position | None:
        """Read a shard's file; None where there is none, or it is being written."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


class _Teller:
    """What is known of the shard that this process works on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = Position("", 0, 0)
        self._parts: dict[str, float] = {}
        self._name = ""
        self._before = self._part = 0.0  # costs of the parts that are done, and of the one that runs
        # Costs of all attacks of that part, of those that are done, and of the one that runs.
        self._steps = self._stepped = self._step = 0.0
        self._images = self._asked = 0
        self._written = 0.0

    def plan(self, samples: int, parts: Sequence[str]) -> None:
        self._position = Position("", samples, samples)
        self._parts = {part: _cost(part) for part in parts}

    def part(self, name: str, left: int) -> None:
        self._before, self._part = self._before + self._part, self._parts.get(name, 0.0)
        self._steps = self._stepped = self._step = 0.0
        self._images = self._asked = 0
        self._name = name
        self._position = replace(self._position, attack=name, left=left)
        self.write(at_once=True)

    def steps(self, attacks: Sequence[str]) -> None:
        self._steps = sum(map(_cost, attacks))

    def step(self, attack: str, images: int) -> None:
        self._stepped, self._step = self._stepped + self._step, _cost(attack)
        self._images, self._asked = images, 0
        self._position = replace(self._position, attack=CHECKS if self._name == CHECKS else attack)
        self.write(at_once=True)

    def fell(self, samples: int) -> None:
        if self._name != CHECKS:  # which attack other balls, and some samples again
            self._position = replace(self._position, left=self._position.left - samples)

    def ask(self, images: int) -> None:
        self._asked += images
        self.write()

    def write(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._written < _OFTEN:
            return
        self._written = now
        with suppress(OSError):  # who shows nothing attacks all the same
            self._path.write_text(json.dumps(asdict(replace(self._position, share=self._share()))))

    def _share(self) -> float:
        within = min(self._asked / self._images, 1.0) if self._images else 0.0
        steps = max(self._steps, self._stepped + self._step)
        of_part = (self._stepped + within * self._step) / steps if steps else within
        return min((self._before + of_part * self._part) / (sum(self._parts.values()) or 1.0), 1.0)


def _cost(name: str) -> float:
    return COSTS.get(name, _OTHER)


_teller: _Teller | None = None


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Let the shard that runs meanwhile in this process tell its position in a file, which goes with it."""
    global _teller  # noqa: PLW0603
    _teller = _Teller(path)
    try:
        yield
    finally:
        _teller = None
        with suppress(OSError):
            path.unlink(missing_ok=True)


def plan(samples: int, parts: Sequence[str]) -> None:
    """A shard of so many samples begins; its routes come in this order."""
    if _teller is not None:
        _teller.plan(samples, parts)


def part(name: str, left: int) -> None:
    """A route begins, with so many samples left."""
    if _teller is not None:
        _teller.part(name, left)


def steps(attacks: Sequence[str]) -> None:
    """The route that runs has these attacks."""
    if _teller is not None:
        _teller.steps(attacks)


def step(attack: str, images: int) -> None:
    """An attack begins, which is to ask about so many images in all."""
    if _teller is not None:
        _teller.step(attack, images)


def fell(samples: int) -> None:
    """So many samples fell to an attack of the route that runs."""
    if _teller is not None:
        _teller.fell(samples)


def ask(images: int) -> None:
    """It has asked about so many."""
    if _teller is not None:
        _teller.ask(images)


@contextmanager
def counting(model: nn.Module) -> Iterator[None]:
    """Count the images that a model is shown meanwhile."""
    if _teller is None:
        yield
        return
    hook = model.register_forward_pre_hook(lambda _, images: ask(len(images[0])))
    try:
        yield
    finally:
        hook.remove()
