"""Bill of materials (ML-BOM): CycloneDX 1.6, every engine a machine-learning model with its model card.

`cyclonedx-python-lib` has no model cards yet (11.12: a to-do in `Component`), so they are put into its JSON.
"""

# An extra: not everybody who checks types has it.
# pyright: reportMissingImports=false
from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ...core.errors import BackendMissing
from ...core.reading.counted import counted
from ...stages.threat import ball_text
from ..card.text import LIMITS
from ..results.report import Report
from .attestations import attestations
from .contents import BundledEngine, Contents

BOM = "bom.cdx.json"
# Of the serial number, which follows from the contents: the same bundle has the same.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "edgeproof.bundle")


def bill_of_materials(
    contents: Contents, whole_report: Report, recipe: Mapping[str, Any], author: str | None = None
) -> str:
    """Write the bill of materials of a bundle, as JSON.

    Args:
        contents: `bundle.json`, as far as it is known.
        whole_report: the run's.
        recipe: the recipe; empty where the run had none.
        author: who answers for the claims about its gates; nobody is named without it.

    Raises:
        BackendMissing: `cyclonedx-python-lib` is not installed.
    """
    library, report = _library(), whole_report.data
    needs = _parts(library, contents, report)
    bom = library.Bom(components=[part for part, _ in needs], serial_number=uuid.uuid5(_NAMESPACE, contents.sha256))
    named = {str(part.bom_ref.value): part for part, _ in needs}
    bom.metadata.component = whole = library.Component(
        bom_ref="bundle",
        name=contents.name,
        type=library.ComponentType.MACHINE_LEARNING_MODEL,
        version=contents.recipe_digest.removeprefix("sha256:")[:16],
    )
    bom.register_dependency(whole, [part for ref, part in named.items() if ref.startswith(("engine/", "file/"))])
    for part, needed in needs:
        bom.register_dependency(part, needed)
    found = json.loads(library.JsonV1Dot6(bom).output_as_string())
    found["metadata"].pop("timestamp", None)  # the same bundle, the same bytes
    cards = {f"engine/{each.name}": _card(each, report, recipe) for each in contents.engines}
    for entry in found["components"]:
        if entry["bom-ref"] in cards:
            entry["modelCard"] = cards[entry["bom-ref"]]
    found |= attestations(whole_report, cards, author)
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _parts(library: Any, contents: Contents, report: Mapping[str, Any]) -> list[tuple[Any, list[Any]]]:
    """Every component, and what it was made from or runs on."""
    kinds = library.ComponentType

    def component(ref: str, name: str, kind: Any, sha256: str | None = None, **more: Any) -> Any:
        hashes = [library.HashType(alg=library.HashAlgorithm.SHA_256, content=sha256)] if sha256 else []
        return library.Component(bom_ref=ref, name=name, type=kind, hashes=hashes, **more)

    dataset = component("dataset", contents.dataset.get("name", "unknown"), kinds.DATA, contents.dataset.get("digest"))
    packages = {
        name: component(
            f"package/{name}", name, kinds.LIBRARY, version=number, purl=library.PackageURL("pypi", None, name, number)
        )
        for name, number in sorted(_packages(contents).items())
    }
    networks = [
        component(f"network/{each['name']}", each["name"], kinds.MACHINE_LEARNING_MODEL, each["sha256"])
        for each in report["subjects"]
        if each["kind"] == "torch"
    ]
    needs: list[tuple[Any, list[Any]]] = [(each, []) for each in (dataset, *packages.values())]
    # Each network learnt from the one before it, and all from the data set.
    needs += [(network, [*networks[max(0, place - 1) : place], dataset]) for place, network in enumerate(networks)]
    for file in contents.files:
        if file.path.endswith(".npz"):
            needs.append((component(f"file/{file.path}", file.path, kinds.DATA, file.sha256), [dataset]))
    for each in contents.engines:
        source = networks[-1:]
        if each.graph is not None:
            graph = component(f"graph/{each.name}", each.graph, kinds.FILE, each.graph_sha256)
            needs.append((graph, source))
            source = [graph]
        engine = component(f"engine/{each.name}", each.name, kinds.MACHINE_LEARNING_MODEL, each.engine_sha256)
        needs.append((engine, [*source, *_runtime(each.target, packages)]))
    return needs


def _library() -> Any:
    """What is used of CycloneDX's library, whose decorated classes type checkers cannot follow."""
    try:
        from cyclonedx.model import HashAlgorithm, HashType
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError as error:
        raise BackendMissing(f"bill of materials: {error}; install it with: pip install 'edgeproof[bundle]'") from None
    return SimpleNamespace(
        Bom=Bom,
        Component=Component,
        ComponentType=ComponentType,
        HashAlgorithm=HashAlgorithm,
        HashType=HashType,
        JsonV1Dot6=JsonV1Dot6,
        PackageURL=PackageURL,
    )


def _packages(contents: Contents) -> dict[str, str]:
    found: dict[str, str] = {"edgeproof": contents.edgeproof}
    for stage in contents.provenance:
        found |= {name: number for name, number in stage["packages"].items() if number != "not installed"}
    return found


def _runtime(engine: str, packages: Mapping[str, Any]) -> list[Any]:
    """The package of an engine's runtime, by its name or the usual ones."""
    return [packages[name] for name in (engine, engine.replace("_", "-")) if name in packages][:1]


def _card(engine: BundledEngine, report: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The model card of one engine, after CycloneDX 1.6."""
    subject = next((each for each in report["subjects"] if each["name"] == engine.name), None)
    threat = report["threat_model"]
    ball = f"{ball_text(threat)}, {report['environment']['attacks']}"
    metrics = [
        metric
        for key, words in (
            ("clean_accuracy", "test images as they are"),
            ("robust_accuracy", f"worst case over all attacks, {ball}"),
            ("robust_accuracy_8bit", f"worst case over all attacks by 8-bit images, {ball}"),
            ("retention", "robust accuracy over the float student's"),
        )
        for metric in _metric(subject or {}, key, words)
    ]
    architecture = recipe.get("student", {}).get("model") if recipe else None
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "image classification",
            "architectureFamily": "convolutional or other neural network",
            **({"modelArchitecture": architecture} if isinstance(architecture, str) else {}),
            "datasets": [{"ref": "dataset"}],
            "inputs": [{"format": "float32 images [N, C, H, W], pixels in [0, 1]"}],
            "outputs": [{"format": "float32 logits [N, classes]"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {
            "useCases": [f"classification on edge devices, against {ball_text(threat)}"],
            "technicalLimitations": list(LIMITS),
        },
    }


def _metric(subject: Mapping[str, Any], key: str, words: str) -> list[dict[str, Any]]:
    value, interval = subject.get(key), subject.get(f"{key}_ci")
    if value is None:
        return []
    metric: dict[str, Any] = {
        "type": key,
        "value": f"{value:.4f}",
        "slice": f"{words}; {counted(subject['samples'], 'sample')}",
    }
    if interval:
        metric["confidenceInterval"] = {"lowerBound": f"{interval[0]:.4f}", "upperBound": f"{interval[1]:.4f}"}
    return [metric]
