"""Recipe text for what was seen: sections, and a comment on what a user may want otherwise."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from ...core.reading.printable import in_one_line
from ...core.reading.yaml_text import parse_yaml
from ...stages.data.base import folder_or_file
from ...stages.quantize.calibration_config import CalibrationConfig
from .seen import SeenData, SeenModel

_CALIBRATION = int(CalibrationConfig().samples)
_BATCH = 128
_ATTACKED = 1000
_FEW_IMAGES, _SMALL_SIDE, _LARGE_SIDE = 20_000, 40, 64


def build_text(path: Path, data: SeenData, student: SeenModel, teacher: SeenModel, *, name: str, gates: str) -> str:
    """A recipe that builds.

    Args:
        path: where it goes.
        data: the images.
        student: the model that ships.
        teacher: what it learns from.
        name: the run's.
        gates: the section of that name.
    """
    train = len(data.dataset.train)
    epochs = _epochs(data)
    batch = max(2, min(_BATCH, train // 4))
    calibration = min(_CALIBRATION, train)
    return f"""\
# A recipe for {student.name} on {in_one_line(data.named)}. Run it with: edgeproof build {in_one_line(path.name)}
# Every key: edgeproof schema; the models, methods and targets it can name: edgeproof list
schema_version: 1
name: {quoted(name)}
{_data_section(path, data)}
  # seed: 0                       # divides what is not test images into train and validation
{_threat_section(data)}
teacher:                          # trained here; or a robust one that you have, in place of model and train:
  # checkpoint: teacher.safetensors   # .safetensors, or .pt of plain tensors; with model: if the file does not name it
  model: {teacher.name}
  train: {{method: trades, epochs: {epochs}, batch_size: {batch}}}
  # require_robust: 0.3           # the least validation accuracy under PGD; a plainly trained network has about none
student:
  model: {student.name}
distill:
  method: adaad                   # adaptive adversarial distillation
  epochs: {epochs}                      # longer is better, as long as the validation figure rises
  batch_size: {batch}
  learning_rate: 0.1
  # augment: [shift, flip]        # where a moved or mirrored image keeps its class
quantize:
  precision: int8                 # or fp32, to ship the float graph
  calibration: {{samples: {calibration}}}      # of the {train} training images
targets: [onnxruntime]            # those that can run here: edgeproof targets
verify:
  samples: {min(_ATTACKED, len(data.dataset.test))}{_of_all(data)}
{gates}"""


def prove_text(path: Path, data: SeenData, model: str) -> str:
    """A recipe for `verify --recipe`: the images, the ball, the effort, and the model's adapter."""
    return f"""\
# How a finished model is attacked. Run it with: edgeproof verify {in_one_line(model)} --recipe {in_one_line(path.name)}
# and before, to see what would be attacked, and for how long, with --dry-run
{_data_section(path, data)}
{_threat_section(data)}
verify:
  samples: {min(_ATTACKED, len(data.dataset.test))}{_of_all(data)}
  # packs: [before.npz]           # what earlier runs found, to be replayed
# adapter:                        # where the file wants other pixels than RGB in [0, 1]; what it says itself is found
#   normalize: imagenet           # or half, or mean and std
#   channels: BGR
#   label_map: labels.txt         # a line for each class of the data, the model's number of it
"""


# The gates of a recipe whose figures nobody knows yet.
OPEN_GATES = """\
gates: {}                         # conditions on the worst engine; exit code 1 when one fails. After the first run:
  # clean_accuracy: ">= 0.9"
  # robust_accuracy: ">= 0.5"
  # retention: ">= 0.97"          # engine robust accuracy over the float student's
"""


def bound_gates(data: SeenData) -> str:
    """Gates for a merge request, bound to the ball, the data set and the number of samples."""
    norm, eps = usual_ball(data)
    samples = min(_ATTACKED, len(data.dataset.test))
    # Of a folder or a file the name is that of its kind, which any other has as well.
    images = data.dataset.name if folder_or_file(data.named) is None else f'"{data.dataset.digest}"'
    bound = f"{{norm: {norm}, eps: {eps}, dataset: {images}, samples: {samples}}}"
    return f"""\
gates:                            # floors under every run; what lies above them is guarded by the baseline
  retention: ">= 0.9"             # engine robust accuracy over the float student's
  # clean_accuracy: ">= 0.9"      # after the first run
  # robust_accuracy: ">= 0.5"
  bound_to: {bound}   # a run of anything easier fails
"""


def usual_ball(data: SeenData) -> tuple[str, str]:
    """The norm and the radius that images of that size are usually attacked in."""
    channels, *sides = data.dataset.image_shape
    if max(sides) > _LARGE_SIDE:
        return "Linf", "4/255"
    return "Linf", "0.1" if channels == 1 else "8/255"


def _epochs(data: SeenData) -> int:
    channels, *sides = data.dataset.image_shape
    if len(data.dataset.train) < _FEW_IMAGES:
        return 30
    return 20 if channels == 1 and max(sides) <= _SMALL_SIDE else 60


def _threat_section(data: SeenData) -> str:
    norm, eps = usual_ball(data)
    return f"""\
threat:
  norm: {norm}                      # or L2
  eps: {eps:<26} # in [0, 1] pixels; usual for images of that size"""


def _data_section(path: Path, data: SeenData) -> str:
    named = folder_or_file(data.named) is None
    lines = ["data:", f"  dataset: {quoted(data.named if named else _from_recipe(data.named, path))}"]
    if data.config.root is not None and named:
        lines.append(f"  root: {quoted(_from_recipe(str(data.config.root), path))}")
    if data.config.sides is not None:
        lines.append(f"  image_size: {list(data.config.sides)}        # height, width")
    if data.config.grey:
        lines.append("  grey: true")
    return "\n".join(lines)


def _from_recipe(given: str, path: Path) -> str:
    """A path as the recipe says it: from its own folder, if it lies below that."""
    place, folder = Path(os.path.expanduser(given)).absolute(), path.absolute().parent
    return f".{os.sep}{place.relative_to(folder)}" if place.is_relative_to(folder) else str(place)


def _of_all(data: SeenData) -> str:
    return f"                    # of {len(data.dataset.test)} test images; all when left out"


def quoted(text: str) -> str:
    """Text as YAML reads it back: bare where that is this very text."""
    with suppress(ValueError):
        if text.isprintable() and parse_yaml(f"- {text}\n- 0") == [text, 0]:
            return text
    return json.dumps(text)
