"""Starter recipe, commented (`edgeproof init`)."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import UsageError

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


def write_recipe(path: Path, *, force: bool = False) -> None:
    """Write the commented recipe.

    Raises:
        UsageError: the file exists and `force` is not given, or it cannot be written.
    """
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; --force overwrites it")
    try:
        path.write_text(RECIPE)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
