"""Classical classifiers as tensors, by Hummingbird."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from hummingbird.ml import convert
from networks import export
from shared import IMAGES, LABELS, produce
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

ROWS = IMAGES.reshape(-1, 64)


def classical(make, path: Path, count: int = len(ROWS), **options) -> None:
    """A classifier of scikit-learn."""
    model = make().fit(ROWS[:count], LABELS[:count])
    # Its own way to ONNX is by torch.export, which does not take its networks.
    found = convert(model, "torch", ROWS[:2], extra_config=options)
    axes = {"images": {0: "N"}, "label": {0: "N"}, "scores": {0: "N"}}
    export(found.model, path, torch.from_numpy(ROWS[:2]), output_names=["label", "scores"], dynamic_axes=axes)


FILES = {
    "logistic": partial(classical, lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.1))),
    "perceptron": partial(classical, lambda: MLPClassifier((64, 32), max_iter=40, random_state=0)),
    "svm": partial(classical, lambda: SVC(C=3.0, gamma=0.3), count=1000),
    "forest": partial(
        classical, lambda: RandomForestClassifier(20, max_depth=6, random_state=0), tree_implementation="gemm"
    ),
}

produce(FILES)
