"""Device guide, `DEVICE.md`: what is in a bundle, and the commands for the device."""

from __future__ import annotations

from collections.abc import Mapping

from ..contents import BundledEngine, Contents
from ..gather import on_device

GUIDE = "DEVICE.md"
# What edgeproof itself takes on a device.
_OWN = ("numpy", "typer")


def device_guide(contents: Contents) -> str:
    """Write `DEVICE.md` of a bundle."""
    threat = contents.threat_model
    lines = [
        f"# {contents.name} on a device",
        "",
        f"A bundle of edgeproof {contents.edgeproof}: engines, the adversarial examples that they were attacked with, "
        f"and the report. Verdict of the run: **{contents.verdict}**. Threat model: {threat.get('norm')} "
        f"eps {threat.get('eps')}. Data set: {contents.dataset.get('name', 'unknown')}. "
        f"Attacks: {contents.attacks}.",
        "",
        "| engine | runtime | precision | ONNX file | engine file | SHA-256 |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(engine) for engine in contents.engines),
        "",
        "## On the device",
        "",
        "Python 3.11 or newer; no torch unless the list says so.",
        "",
    ]
    for engine in contents.engines:
        lines += _commands(contents, engine)
    lines += [
        "The replay checks every digest first, then shows the engine every adversarial example of the run, as it is "
        "and rounded to 8 bits, and writes `device-report.json`. Exit code 0: it withstands what the run's engine "
        "withstood; 1: it lost samples; 2: a file is not what it should be; 4: nothing can be said.",
        "",
        "## Back at the run",
        "",
        "    edgeproof device RUN device-report.json",
        "",
        "adds the device's verdict to the run's report; a device that lost samples fails it.",
        "",
        "A replay is no attack: an engine that withstands these examples may fall to examples made for itself. The "
        "replayed graph was attacked by the run that this bundle comes from.",
        "",
    ]
    return "\n".join(lines)


def _row(engine: BundledEngine) -> str:
    file = engine.engine or "is built on the device"
    digest = engine.engine_sha256[:16] + "…" if engine.engine else ""
    cells = (engine.name, engine.target, engine.precision or "", engine.graph or "", file, digest)
    return f"| {' | '.join(cells)} |"


def _commands(contents: Contents, engine: BundledEngine) -> list[str]:
    subject = f" --subject {engine.name}" if len(contents.engines) > 1 else ""
    found = [f"`{engine.name}`:", "", f"    pip install --no-deps edgeproof=={contents.edgeproof}"]
    needs = on_device(engine.target)
    if needs.packages:
        packages = _packages(contents, engine)
        named = " ".join([*_OWN, *(_pinned(name, packages) for name in needs.packages)])
        found += [f"    pip install {named}", f"    edgeproof replay BUNDLE{subject}", ""]
    else:
        by_hand = needs.by_hand or f"what target `{engine.target}` needs, and `pip install {' '.join(_OWN)}`"
        found += [f"    edgeproof replay BUNDLE{subject}", "", f"with {by_hand}."]
        found += ["", "The engine is built there from the ONNX file, into `device-engines/`.", ""]
    return found


def _packages(contents: Contents, engine: BundledEngine) -> Mapping[str, str]:
    """The versions of the runtime's packages in the run."""
    found: dict[str, str] = {}
    for stage in contents.provenance:
        if stage["stage"] in (f"engines/{engine.name}", f"attack/{engine.name}", "settle"):
            found |= {name: version for name, version in (stage["packages"] or {}).items() if name not in found}
    return found


def _pinned(name: str, packages: Mapping[str, str]) -> str:
    pinned = name in packages and packages[name] != "not installed"
    return f"{name}=={packages[name].partition('+')[0]}" if pinned else name
