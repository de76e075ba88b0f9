"""Engine of an ONNX file that somebody else exported, its adapter around it (`edgeproof compile MODEL`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...core.atomic_write import take_place
from ...core.errors import ModelError, StageError, UsageError
from ...core.model_file import copy_model, digest_of
from ...core.reading.json_text import read_json
from ...core.reading.published_paths import published_path
from ...core.versions import installed_versions
from ...core.writing.scratch import scratch_folder, without_scratch
from ...stages.adapt import AdapterConfig
from ...stages.data import load_dataset
from ...targets.base import Target, TargetOptions, targets
from ...targets.option_values import read_options
from ..progress import Reporter
from ..recipe.validation_errors import checked
from ..request.adapted_models import MODEL, AdaptedModels
from ..request.arguments import data_config, option
from ..run.plugin_code import module_of
from ..store.artifact import key_of
from ..store.code_digest import code_digest
from ..store.folder_guard import About, check_alike, check_not_stood_in

ABOUT = "compile.json"
_CODE = ("edgeproof.stages.adapt.adapt",)
_PACKAGES = ("edgeproof", "onnx", "onnxruntime", "numpy")


def compile_file(
    model: Path,
    *,
    dataset: str,
    out: Path,
    force: bool = False,
    target: str = "onnxruntime",
    options: Sequence[str] = (),
    data_root: str | Path | None = None,
    image_size: str | int | tuple[int, int] | None = None,
    grey: bool = False,
    adapter: AdapterConfig | Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Build a target's engine of an ONNX file behind its adapter: pixels in [0, 1] in, logits out.

    Nothing is built where `out` holds the same already; what it holds otherwise of an earlier call for the same file
    and data set is replaced as a whole.

    Args:
        model: the ONNX file, from any exporter.
        dataset: a registered data set, a folder of images, an .npz file, or `package.module:function`: whose images the
            engine takes.
        out: the folder of the engine, of `model.onnx`, from which it was built (the engine itself where the runtime
            reads ONNX files), and of `compile.json`.
        force: replace the engine of another file or data set there.
        target: the runtime.
        options: its options, `name=value` each.
        data_root: the folder of local copies of data sets.
        image_size: resize image files to this side, or to HEIGHTxWIDTH such as 48x64.
        grey: read image files as grey, for models of one channel.
        adapter: what stands between pixels in [0, 1] and the file, and between its answers and logits, where that is
            not to be found from it.
        reporter: where progress goes.

    Returns:
        what `--json` prints: `compile.json`, and the paths `engine_path` and `graph_path`.

    Raises:
        UsageError: an option is wrong, `out` holds something else or another file's engine, or the model does not suit
            the data set or runtime.
        BackendMissing: the runtime is not installed.
    """
    reporter = reporter or Reporter(quiet=True)
    with option("--target: "):
        runtime = targets[target]
    state = runtime.available()
    if not state.builds:
        runtime.check_available()
    with option("--option: "):
        chosen = read_options(runtime.options, options)
    said = checked(AdapterConfig, adapter or {}, "--")
    check_not_stood_in(out, "--out")
    before = _earlier(out)
    data = load_dataset(data_config(dataset, data_root, image_size, grey=grey), tests_only=True)
    with scratch_folder() as scratch:
        models = AdaptedModels(scratch, data, dataset)
        graph = models.file_of(target, model, said)
        models.check(model, graph, target)
        adapted = models.found.get(target)
        words = list(adapted.words) if adapted else []
        if words:
            reporter.notice(f"{model}: {', '.join(words)}")
        versions = {**installed_versions(_PACKAGES), **state.versions}
        about: dict[str, Any] = {
            "model": {"path": published_path(model), "sha256": digest_of(model)},
            "adapter": words,
            "dataset": {"name": data.name, "digest": data.digest},
            "graph": {"file": MODEL, "sha256": digest_of(graph)},
            "target": target,
            "options": dict(chosen.chosen),
            "versions": versions,
        }
        code = code_digest(*_CODE, module_of(type(runtime)), *runtime.builds_with)
        about["request"] = key_of({**about, "tied_to": runtime.tied_to(), "code": code})
        if before.get("request") == about["request"] and _intact(out, before):
            reporter.notice(f"{out}: holds this engine already")
            return _with_paths(before, out)
        if before and not force:
            check_alike(out, _about(before), _about(about))
        place = out.resolve()  # what a link leads to is replaced, not the link
        place.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(place.parent) as beside:
            about["engine"] = _built(runtime, chosen, model, graph, beside / "new")
            (beside / "new" / ABOUT).write_text(json.dumps(about, indent=1))
            take_place(beside / "new", place)
    return _with_paths(about, out)


def show_compiled(result: Mapping[str, Any], console: Console) -> None:
    """Print what `compile_file` returns, and how the engine is verified."""
    engine, graph, target = result["engine_path"], result["graph_path"], result["target"]
    said = "".join(f" --option {name}={json.dumps(value).strip(chr(34))}" for name, value in result["options"].items())
    verify = f"edgeproof verify {engine} --target {target} --graph {graph}{said}"
    lines = f"{engine}\nverify it with: {verify} --dataset ... --eps ..."
    console.print(lines, highlight=False, markup=False, soft_wrap=True)


def _earlier(out: Path) -> dict[str, Any]:
    """What an earlier call left in the folder: nothing where it is missing or empty.

    Raises:
        UsageError: it holds something else, which would be lost.
    """
    if not out.exists():
        return {}
    if not out.is_dir():
        raise UsageError(f"--out {out}: is no folder; name another one")
    if not any(out.iterdir()):
        return {}
    try:
        found = read_json(out / ABOUT)
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "request" not in found:
        raise UsageError(f"--out {out}: holds other files, which would be removed; name another folder")
    return found


def _about(found: Mapping[str, Any]) -> About:
    return About.of([found.get("model")], found.get("dataset"))


def _intact(out: Path, about: Mapping[str, Any]) -> bool:
    """Whether the engine and its graph are those that were written."""
    try:
        return all(digest_of(out / about[what]["file"]) == about[what]["sha256"] for what in ("graph", "engine"))
    except (OSError, KeyError, TypeError, ModelError):
        return False


def _built(runtime: Target, options: TargetOptions, model: Path, graph: Path, folder: Path) -> dict[str, str]:
    """Build the engine into a new folder, beside its graph; return its name there and its digest."""
    try:
        engine = runtime.build(graph, folder, options=options)
    except StageError as error:
        raise ModelError(without_scratch(error, model)) from None
    if not runtime.runs_graph:
        copy_model(graph, folder, MODEL)
    return {"file": str(engine.path.relative_to(folder)), "sha256": engine.sha256}


def _with_paths(about: Mapping[str, Any], out: Path) -> dict[str, Any]:
    paths = {f"{what}_path": str(out / about[what]["file"]) for what in ("engine", "graph")}
    return {**about, **paths}
