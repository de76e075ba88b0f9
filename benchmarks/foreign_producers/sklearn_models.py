"""Classifiers of scikit-learn by skl2onnx, of XGBoost, LightGBM and CatBoost by onnxmltools and their own export."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
from shared import IMAGES, LABELS, produce
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

warnings.filterwarnings("ignore")
ROWS = IMAGES.reshape(-1, 64)


def write(model, path: Path) -> None:
    """Write a message of ONNX."""
    path.write_bytes(model.SerializeToString())


def classical(
    make, path: Path, *, zipmap: bool | None = False, double: bool = False, count: int = len(ROWS), **extra
) -> None:
    """A classifier of scikit-learn, on rows of 64 numbers."""
    model = make().fit(ROWS[:count].astype(np.float64 if double else np.float32), LABELS[:count])
    print(f"{type(model).__name__}: {model.score(ROWS[:1000], LABELS[:1000]):.3f}", flush=True)
    kind = (DoubleTensorType if double else FloatTensorType)([None, 64])
    options = {id(model): extra if zipmap is None else {"zipmap": zipmap, **extra}}
    write(convert_sklearn(model, initial_types=[("images", kind)], options=options, target_opset=17), path)


def logistic() -> LogisticRegression:
    """Multinomial logistic regression."""
    return LogisticRegression(C=0.1, max_iter=300)


def perceptron() -> MLPClassifier:
    """A perceptron of two layers."""
    return MLPClassifier((64, 32), max_iter=40, random_state=0)


def boosted(path: Path) -> None:
    """Trees of XGBoost."""
    import onnxmltools
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats

    model = xgboost.XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1).fit(ROWS, LABELS)
    write(onnxmltools.convert_xgboost(model, initial_types=[("images", Floats([None, 64]))]), path)


def light(path: Path) -> None:
    """Trees of LightGBM."""
    import lightgbm
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats

    model = lightgbm.LGBMClassifier(n_estimators=40, max_depth=3, n_jobs=1, verbose=-1).fit(ROWS, LABELS)
    types = [("images", Floats([None, 64]))]
    write(onnxmltools.convert_lightgbm(model, initial_types=types, zipmap=False), path)


def cat(path: Path) -> None:
    """Trees of CatBoost, by its own export."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=100, depth=4, verbose=False, allow_writing_files=False, thread_count=1)
    model.fit(ROWS, LABELS).save_model(str(path), format="onnx")


FILES = {
    "logistic": partial(classical, logistic),
    "logistic_zipmap": partial(classical, logistic, zipmap=True),
    "logistic_double": partial(classical, logistic, double=True),
    "logistic_pipeline": partial(classical, lambda: make_pipeline(StandardScaler(), PCA(32), logistic())),
    "perceptron": partial(classical, perceptron),
    "ridge": partial(classical, RidgeClassifier),
    "linear_svm": partial(classical, lambda: LinearSVC(C=0.1), zipmap=None),
    "svm": partial(classical, lambda: SVC(C=3.0, gamma=0.3), count=1000, raw_scores=True),
    "svm_probability": partial(classical, lambda: SVC(C=3.0, gamma=0.3, probability=True), count=1000),
    "qda": partial(classical, lambda: QuadraticDiscriminantAnalysis(reg_param=0.1)),
    "gaussian_bayes": partial(classical, lambda: GaussianNB(var_smoothing=1e-2)),
    "neighbours": partial(classical, lambda: KNeighborsClassifier(5), count=1000),
    "forest": partial(classical, lambda: RandomForestClassifier(50, max_depth=8, random_state=0)),
    "xgboost": boosted,
    "lightgbm": light,
    "catboost": cat,
}

produce(FILES)
