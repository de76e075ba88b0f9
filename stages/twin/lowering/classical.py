"""Linear models, support vector machines and scalers, as skl2onnx writes them (ai.onnx.ml operator specification)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch
from onnx import TensorProto
from torch import Tensor

from ..node import Node, Value
from .standard import Standard, lowered

ML = "ai.onnx.ml"


def _floats(to: Standard, node: Node, name: str) -> Value | None:
    numbers = node.floats(name)
    return None if numbers is None else to.constant(torch.tensor(numbers))


def _as_float(to: Standard, node: Node) -> Value:
    value = node.needed(0)
    return value if value.elem_type == TensorProto.FLOAT else to.op("Cast", value, to=TensorProto.FLOAT)


@lowered("Scaler", domain=ML)
def scaler(node: Node, to: Standard) -> Value:
    """(x - offset) scale."""
    value = _as_float(to, node)
    offset, scale = _floats(to, node, "offset"), _floats(to, node, "scale")
    value = value if offset is None else to.op("Sub", value, offset)
    return value if scale is None else to.op("Mul", value, scale)


@lowered("Normalizer", domain=ML)
def normalizer(node: Node, to: Standard) -> Value:
    """Rows divided by their norm."""
    norm = node.string("norm", "MAX", among=("L1", "L2"))
    return to.op("LpNormalization", _as_float(to, node), axis=-1, p=int(norm[1]))


@lowered("LinearClassifier", domain=ML)
def linear_classifier(node: Node, to: Standard) -> list[Value]:
    """The label with the largest score, and the scores of all classes."""
    labels = node.ints("classlabels_ints")
    node.require(labels is not None, "labels that are strings are not implemented")
    transform = node.string("post_transform", "NONE", among=("NONE", "LOGISTIC", "SOFTMAX"))
    node.ignore("multi_class")
    weights, biases = torch.tensor(node.floats("coefficients", [])), _floats(to, node, "intercepts")
    rows = len(labels or [])
    complete = rows > 2 if biases is None else len(node.floats("intercepts", [])) == rows
    node.require(complete and weights.numel() % rows == 0, "fewer scores than classes are not implemented")
    scores = to.op("Gemm", _as_float(to, node), to.constant(weights.reshape(rows, -1)), biases, transB=1)
    best = to.op("ArgMax", scores, axis=-1, keepdims=0)
    label = to.op("Gather", to.constant(torch.tensor(labels), TensorProto.INT64), best)
    if transform != "NONE":
        scores = to.op("Sigmoid" if transform == "LOGISTIC" else "Softmax", scores)
    return [label, scores]


@lowered("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(node: Node, to: Standard) -> Value:
    """Some columns; a row of numbers is taken for a matrix of one row."""
    value = node.needed(0)
    if value.constant is not None and value.constant.dim() == 1:
        value = to.constant(value.constant[None], value.elem_type)
    places = to.op("Reshape", node.needed(1), to.constant(torch.tensor([-1]), TensorProto.INT64))
    return to.op("Gather", value, places, axis=-1)


@lowered("SVMClassifier", domain=ML)
def svm_classifier(node: Node, to: Standard) -> list[Value]:
    """One-vs-one support vector classifier: the label by votes, and pairwise decisions or coupled probabilities.

    Probabilities are the exact minimum that the coupling by pairs iterates to (Wu, Lin & Weng 2004, second method).
    """
    labels, counts = node.ints("classlabels_ints"), node.ints("vectors_per_class", [])
    node.require(labels is not None, "labels that are strings are not implemented")
    node.require(len(counts) == len(labels or []) > 2, "linear ones and those of two classes are not implemented")
    node.string("post_transform", "NONE", among=("NONE",))
    vectors = torch.tensor(node.floats("support_vectors", [])).reshape(sum(counts), -1)
    dual = torch.tensor(node.floats("coefficients", [])).reshape(len(counts) - 1, -1)
    rho, kernel = torch.tensor(node.floats("rho", [])), _kernel(node)
    pairs = [*combinations(range(len(counts)), 2)]
    # For every pair of classes what each support vector adds to its decision.
    parts, weights = dual.split(counts, 1), torch.zeros(len(pairs), sum(counts))
    starts = [sum(counts[:place]) for place in range(len(counts) + 1)]
    for row, (i, j) in zip(weights, pairs, strict=True):
        row[starts[i] : starts[i + 1]] = parts[i][j - 1]
        row[starts[j] : starts[j + 1]] = parts[j][i]
    slopes, shifts = (node.floats(name) for name in ("prob_a", "prob_b"))

    def decide(x: Tensor) -> Tensor:
        return kernel(x, vectors.to(x)) @ weights.T.to(x) + rho.to(x)

    scores = to.call(decide, _as_float(to, node))
    best = to.op("ArgMax", to.call(lambda decisions: _votes(decisions, pairs), scores), axis=-1, keepdims=0)
    if slopes and shifts:
        fitted = torch.tensor(slopes), torch.tensor(shifts)
        scores = to.call(lambda decisions: _coupled(decisions, pairs, *fitted), scores)
    return [to.op("Gather", to.constant(torch.tensor(labels), TensorProto.INT64), best), scores]


def _kernel(node: Node) -> Callable[[Tensor, Tensor], Tensor]:
    gamma, shift, degree = node.floats("kernel_params", [0.0, 0.0, 0.0])
    kinds: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "LINEAR": lambda x, v: x @ v.T,
        "POLY": lambda x, v: (gamma * (x @ v.T) + shift) ** degree,
        "RBF": lambda x, v: torch.exp(-gamma * (x[:, None] - v).square().sum(-1)),
        "SIGMOID": lambda x, v: torch.tanh(gamma * (x @ v.T) + shift),
    }
    return kinds[node.string("kernel_type", "LINEAR", among=[*kinds])]


def _votes(decisions: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    """How many of its pairs each class wins."""
    votes = decisions.new_zeros(len(decisions), pairs[-1][1] + 1)
    for column, (i, j) in zip(decisions.T, pairs, strict=True):
        votes[:, i] += column > 0
        votes[:, j] += column <= 0
    return votes


def _coupled(decisions: Tensor, pairs: list[tuple[int, int]], slopes: Tensor, shifts: Tensor) -> Tensor:
    """Probabilities of the classes from those of every pair."""
    size = pairs[-1][1] + 1
    wins = torch.sigmoid(-(decisions * slopes.to(decisions) + shifts.to(decisions))).clamp(1e-7, 1 - 1e-7).double()
    r = wins.new_zeros(len(wins), size, size)
    first, second = torch.tensor(pairs).T
    r[:, first, second], r[:, second, first] = wins, 1 - wins
    q = -(r.mT * r) + torch.diag_embed(r.square().sum(1))
    border = torch.cat([q, q.new_ones(len(q), size, 1)], 2)
    border = torch.cat([border, torch.cat([q.new_ones(size), q.new_zeros(1)]).expand(len(q), 1, -1)], 1)
    right = torch.cat([q.new_zeros(size), q.new_ones(1)]).expand(len(q), -1)
    return torch.linalg.solve(border, right)[:, :size].to(decisions)
