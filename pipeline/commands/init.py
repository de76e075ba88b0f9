"""Starter recipe, commented, for the digits or for what a user has (`edgeproof init`)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ...core.errors import UsageError
from ...core.onnx_reader import read_onnx
from ..starter.ci_files import ci_files

if TYPE_CHECKING:
    import onnx

RECIPE = """\
# An edgeproof recipe. Run it with: edgeproof build THIS_FILE
schema_version: 1
name: digits                      # names the run's folder, runs/digits
data:
  dataset: digits                 # or mnist, fashion_mnist, cifar10, cifar100, svhn, gtsrb, eurosat, imagefolder,
                                  # or your own function, package.module:function; the test split is fixed
  seed: 0                         # divides the rest into train and validation
  # root: data                    # local copies (or --data-root, EDGEPROOF_DATA)
  # train: 1000                   # train on only so many images, drawn by class
threat:
  norm: Linf                      # Linf or L2
  eps: 0.1                        # in [0, 1] pixels; a number, or a fraction such as "8/255"
teacher:
  model: cnn8_wide
  # checkpoint: teacher.safetensors   # load a teacher (.safetensors, or .pt of plain tensors) instead of training it
  # normalize: {mean: [0.5], std: [0.5]}  # what its weights expect; pixels in [0, 1] when left out
  # robustbench: Chen2021LTD_WRN34_10 # or a model of RobustBench's zoo (no model, no train); pin it with sha256
  train: {method: trades, epochs: 30}
student:
  model: cnn8_small
distill:
  method: adaad                   # adaptive adversarial distillation
  options: {alpha: 1.0, temperature: 1.0, kl_scale: batchmean}
  plugins: []
  epochs: 30
  batch_size: 128
  learning_rate: 0.2
  inner: {steps: 10}              # step defaults to eps / 4
quantize:
  precision: int8                 # int8, or fp32 to ship the float graph
  calibration: {samples: 256}     # images of the training split that set the activation ranges
targets: [onnxruntime]
verify:
  samples: 300                    # test images that are attacked; all when left out
  # corruptions: {severities: [3]}    # also the accuracy under noise, blur, JPEG, ...; 1 (mild) to 5, all when left out
gates:                            # conditions on the worst engine; exit code 1 when one fails
  clean_accuracy: ">= 0.95"
  robust_accuracy: ">= 0.75"
  retention: ">= 0.97"            # engine robust accuracy over the float student's
"""


PROVE = """\
# How a finished model is attacked. Run it with: edgeproof verify MODEL.onnx --recipe THIS_FILE
data:
  dataset: digits                 # a name, ./photos/ (a folder a class), ./photos.npz, or package.module:function
threat:
  norm: Linf                      # Linf or L2
  eps: 0.1                        # in [0, 1] pixels; a number, or a fraction such as "8/255"
verify:
  samples: 300                    # test images that are attacked; all when left out
# adapter:                        # where the file wants other pixels than RGB in [0, 1]; what it says itself is found
#   normalize: imagenet           # or half, or mean and std
"""
# Of the digits, that floors are known for, and the run is bound to what the recipe says.
GATE = f"{RECIPE}  bound_to: {{norm: Linf, eps: 0.1, dataset: digits, samples: 300}}  # easier runs fail\n"
RECIPES = {"build": RECIPE, "prove": PROVE, "gate": GATE}
Use = Literal["build", "prove", "gate"]
USES: tuple[Use, ...] = get_args(Use)


@dataclass(frozen=True)
class Written:
    """What `init` wrote.

    Attributes:
        files: in order, the recipe first.
        seen: what was found about the model and the data, a line each.
        following: the commands that come next.
    """

    files: tuple[Path, ...]
    seen: tuple[str, ...]
    following: tuple[str, ...]


def write_starter(
    path: Path,
    use: str = "build",
    *,
    model: str | None = None,
    data: str | None = None,
    data_root: Path | None = None,
    image_size: str | None = None,
    grey: bool = False,
    force: bool = False,
) -> Written:
    """Look at a model and a data set, and write a recipe for them; without either, one for the digits.

    Args:
        path: where the recipe goes.
        use: `build` a student, `prove` a finished model, or `gate` merge requests of a repository.
        model: a registered model, or `package.module:function`, which may lie beside `path`; to prove, an ONNX file.
        data: a data set by its name or its path, or `package.module:function`, likewise.
        data_root: the folder of local copies of data sets.
        image_size: resize image files to this side, or HEIGHTxWIDTH.
        grey: read image files as grey.
        force: whether files may be overwritten.

    Raises:
        UsageError: one of them is not to be used as it is; or a file exists and `force` is not given.
    """
    if use not in USES:
        raise UsageError(f"--for {use}: must be one of: {', '.join(USES)}")
    if data is None and (model is not None or data_root is not None or image_size is not None or grey):
        raise UsageError("--data: is needed as well; a model is looked at with its images")
    content, seen, name = (
        (RECIPES[use], (), "digits")
        if data is None
        else _looked_at(path, use, model, data, data_root, image_size, grey=grey)
    )
    files = {path: content}
    if use == "gate":
        files |= ci_files(path, name)
    _write(files, force=force)
    typed, finished = shlex.quote(str(path)), shlex.quote(model or "MODEL.onnx")
    following = {
        "build": [f"edgeproof build {typed} --dry-run", f"edgeproof build {typed}"],
        "prove": [f"edgeproof verify {finished} --recipe {typed}{more}" for more in (" --dry-run", "")],
        "gate": [
            f"edgeproof build {typed}",
            f"edgeproof gate runs/{name} --baseline baselines/{name}.json --update-baseline",
        ],
    }[use]
    return Written(tuple(files), tuple(seen), tuple(following))


def write_recipe(path: Path, *, force: bool = False) -> None:
    """Write the commented recipe for the digits.

    Raises:
        UsageError: the file exists and `force` is not given, or it cannot be written.
    """
    _write({path: RECIPE}, force=force)


def _looked_at(
    path: Path, use: str, model: str | None, named: str, root: Path | None, size: str | None, *, grey: bool
) -> tuple[str, tuple[str, ...], str]:
    """The recipe, what was seen, and the run's name."""
    # They import torch, which the recipe for the digits does not need.
    from ..starter.recipe_text import OPEN_GATES, bound_gates, build_text, prove_text
    from ..starter.seen import SeenData, SeenModel, usual_student, usual_teacher

    folder = path.parent
    data = SeenData.of(named, folder, root, size, grey=grey, trains=use != "prove")
    if use == "prove":
        words = [] if model is None else [_file_words(Path(model))]
        return prove_text(path, data, model or "MODEL.onnx"), (*words, f"data: {data.words}"), ""
    if model is not None and model.endswith(".onnx"):
        raise UsageError(
            f"--model {model}: is a finished model, which nothing is built for; `init --for prove` writes a recipe to "
            "attack it, and what `edgeproof verify` leaves is judged by `edgeproof gate` (docs/ci.md)"
        )
    student = SeenModel.of(model or usual_student(data), data, folder)
    teacher = usual_teacher(student, data)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(named.rpartition(":")[2]).stem).strip("-._") or "mine"
    gates = bound_gates(data) if use == "gate" else OPEN_GATES
    text = build_text(path, data, student, teacher, name=name, gates=gates)
    seen = (f"data: {data.words}", f"student: {student.words}", f"teacher, trained first: {teacher.words}")
    return text, seen, name


def _file_words(model: Path) -> str:
    """What an ONNX file takes and gives, as it says itself.

    Raises:
        ModelError: it is missing or no ONNX file.
    """
    graph = read_onnx(model, weights=False).graph
    held = {each.name for each in graph.initializer}

    def shown(value: onnx.ValueInfoProto) -> str:
        sides = [each.dim_param or str(each.dim_value or "?") for each in value.type.tensor_type.shape.dim]
        return f"{value.name} [{', '.join(sides)}]"

    inputs = ", ".join(shown(each) for each in graph.input if each.name not in held)
    return f"model: {model}: {inputs} to {', '.join(map(shown, graph.output))}"


def _write(files: Mapping[Path, str], *, force: bool) -> None:
    for path in files:
        if path.exists() and not force:
            raise UsageError(f"{path}: exists already; --force overwrites it")
    written: list[Path] = []
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written += [] if path.exists() else [path]
            path.write_text(text)
        except OSError as error:
            for begun in written:
                begun.unlink(missing_ok=True)
            raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
