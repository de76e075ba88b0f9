"""The keys of one config model as rows: key, type, default, meaning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_args

from described import meaning
from edgeproof.core.registry import Registry
from edgeproof.stages.models import models
from pydantic import AfterValidator, BaseModel, TypeAdapter

COLUMNS = ("key", "type", "default", "meaning")
# What no docstring says of a single key.
SAID_HERE = {
    ("Recipe", "schema_version"): "the version of this form; 1",
    ("Recipe", "name"): "names the run's folder, `runs/<name>`",
    ("Recipe", "data"): "the images",
    ("Recipe", "threat"): "the ball that is defended and attacked",
    ("Recipe", "teacher"): "the robust model that is learnt from",
    ("Recipe", "natural_teacher"): "a teacher of clean images, for the methods that learn from one as well",
    ("Recipe", "student"): "the model that ships",
    ("Recipe", "distill"): "how the student learns",
    ("Recipe", "prune"): "channels to remove before anything else; none where left out",
    ("Recipe", "export"): "the float ONNX file",
    ("Recipe", "quantize"): "the precision",
    ("Recipe", "recover"): "the training of the quantized graph; none where left out",
    ("Recipe", "targets"): "the runtimes that engines are built for, by name or `{name: options}`, each once",
    ("Recipe", "verify"): "how hard the attacks try",
    ("Recipe", "bench"): "how latency is measured",
    ("Recipe", "gates"): "figures and their limits",
    ("Recipe", "adapter"): "for `verify --recipe`: what a model that somebody else exported wants; no build reads it",
    ("Recipe", "surrogate_adapter"): "likewise of the surrogate",
    ("ThreatModel", "norm"): "the norm of the ball",
    (
        "ThreatModel",
        "eps",
    ): 'its radius, in (0, 1] for Linf and above 0 for L2; a number, or a fraction such as `"8/255"`',
    ("StudentConfig", "model"): "the student's model",
    ("TrainConfig", "options"): "the method's own",
    ("Normalization", "mean"): "one number, or one a channel",
    ("Normalization", "std"): "likewise, above 0",
}


def rows(kind: type, links: Mapping[str, str], *, only: frozenset[str] | None = None) -> Iterator[tuple[str, ...]]:
    """The keys of a config model or a dataclass of options.

    Args:
        kind: the class.
        links: what a type cell says of keys that have a section of their own.
        only: the keys that are wanted; all where left out.

    Raises:
        ValueError: nobody says what a key means.
    """
    schema = TypeAdapter(kind).json_schema()
    for name, about in schema.get("properties", {}).items():
        if only is not None and name not in only:
            continue
        said = SAID_HERE.get((kind.__name__, name)) or meaning(kind, name)
        if not said:
            raise ValueError(f"{kind.__name__}.{name}: no docstring says what it means")
        default = "required" if name in schema.get("required", ()) else _default(kind, name)
        cell = links.get(name) or _registered(kind, name) or _type(about)
        yield f"`{name}`", cell, "" if name in links and default.startswith("`{") else default, said


def changed(kind: type[BaseModel], base: type[BaseModel]) -> frozenset[str]:
    """The keys that a model adds to another one, or whose default differs."""
    before, now = base.model_fields, kind.model_fields
    return frozenset(name for name in now if name not in before or now[name].default != before[name].default)


def _default(kind: type, name: str) -> str:
    if is_dataclass(kind):
        value = getattr(kind, name)
    else:
        value = kind.model_fields[name].get_default(call_default_factory=True)  # type: ignore[attr-defined]
    plain: Any = TypeAdapter(Any).dump_python(value, mode="json")
    return "none" if plain is None else f"`{json.dumps(plain, ensure_ascii=False)}`"


def names_in(registry: Registry[Any]) -> str:
    """Every name that a registry knows, as code."""
    own = ["package.module:function"] if registry._functions else []
    known = [*registry.names(), *(family.form for family in registry._families), *own]
    return ", ".join(f"`{name}`" for name in known)


def _registered(kind: type, name: str) -> str:
    """The names that a key may be, where a registry checks it."""
    if is_dataclass(kind):
        return ""
    field = kind.model_fields[name]  # type: ignore[attr-defined]
    registry = _registry(field.metadata) or _registry_inside(field.annotation)
    if registry is None:
        return ""
    if registry is models:
        return "[model](#models)"
    return ("list of: " if str(field.annotation).startswith("tuple") else "") + names_in(registry)


def _registry(metadata: Iterable[Any]) -> Registry[Any] | None:
    owners = (getattr(each.func, "__self__", None) for each in metadata if isinstance(each, AfterValidator))
    return next((owner for owner in owners if isinstance(owner, Registry)), None)


def _registry_inside(annotation: Any) -> Registry[Any] | None:
    if (found := _registry(getattr(annotation, "__metadata__", ()))) is not None:
        return found
    return next((found for each in get_args(annotation) if (found := _registry_inside(each)) is not None), None)


_NAMES = {"integer": "integer", "number": "number", "string": "text", "boolean": "yes or no", "object": "mapping"}
_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def _type(about: Mapping[str, Any]) -> str:
    """A JSON Schema as words."""
    if "enum" in about or "const" in about:
        return ", ".join(f"`{value}`" for value in about.get("enum", [about.get("const")]))
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_type(each) for each in about["anyOf"] if each.get("type") != "null"))
    if "prefixItems" in about:
        return f"[{', '.join(_type(each) for each in about['prefixItems'])}]"
    if about.get("type") == "array":
        return f"list of {_type(about.get('items', {}))}"
    if about.get("format") == "path":
        return "file or folder"
    bounds = [f"{sign} {about[key]:.10g}" for key, sign in _BOUNDS if key in about]
    if about.get("pattern"):
        bounds.append(f"`{about['pattern']}`")
    return " ".join([_NAMES.get(about.get("type", ""), "any"), ", ".join(bounds)]).strip()
