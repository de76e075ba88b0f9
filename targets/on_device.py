"""Deployment needs: what the engine of a target needs on a device that only runs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OnDevice:
    """What a target's engine needs beside edgeproof on a device.

    Attributes:
        packages: what pip installs there, beside what edgeproof's own command line takes.
        by_hand: what else has to be there, for people, where pip does not install it.
        portable: whether an engine runs on other machines than the one that built it; if not, it is built on the
            device, from its ONNX file.
        beside: names of further files of an engine, carried with it where they are there.
    """

    packages: tuple[str, ...] = ()
    by_hand: str = ""
    portable: bool = True
    beside: tuple[str, ...] = ()
