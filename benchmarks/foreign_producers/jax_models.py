"""JAX networks of Flax, Equinox and plain functions, by jax2onnx."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax2onnx import to_onnx
from shared import IMAGES, LABELS, produce

LAST = jnp.asarray(IMAGES.transpose(0, 2, 3, 1))
FIRST = jnp.asarray(IMAGES)


class Convolutions(nnx.Module):
    """Convolutions of Flax, channels last."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(16, use_running_average=True, rngs=rngs)
        self.down = nnx.Conv(16, 32, (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        """Logits."""
        x = nnx.relu(self.norm(self.stem(x)))
        x = nnx.gelu(self.down(x))
        x = nnx.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
        return self.head(x.reshape(x.shape[0], -1))


class Transformer(nnx.Module):
    """Attention of Flax between the rows of an image."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Linear(8, 32, rngs=rngs)
        self.norm, self.last = nnx.LayerNorm(32, rngs=rngs), nnx.LayerNorm(32, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 32, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(32, 64, rngs=rngs), nnx.Linear(64, 32, rngs=rngs)
        self.head = nnx.Linear(256, 10, rngs=rngs)

    def __call__(self, x):
        """Logits."""
        x = self.embed(x[..., 0])
        x = x + self.attention(self.norm(x))
        x = x + self.down(nnx.silu(self.up(self.last(x))))
        return self.head(x.reshape(x.shape[0], -1))


def trained(loss_of, weights, images, epochs: int = 15):
    """Weights after Adam."""
    optimizer = optax.adamw(3e-3)
    state = optimizer.init(weights)

    @jax.jit
    def step(weights, state, x, y):
        gradient = jax.grad(loss_of)(weights, x, y)
        updates, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state

    draw, labels = np.random.default_rng(0), jnp.asarray(LABELS)
    for _ in range(epochs):
        for rows in draw.permutation(len(images))[: len(images) // 64 * 64].reshape(-1, 64):
            weights, state = step(weights, state, images[rows], labels[rows])
    return weights


def cross_entropy(logits, labels):
    """Mean over a batch."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@cache
def flax(make) -> nnx.Module:
    """A network of Flax, trained once a process."""
    network = make(nnx.Rngs(0))
    graph, weights, rest = nnx.split(network, nnx.Param, ...)

    def loss(weights, x, y):
        return cross_entropy(nnx.merge(graph, weights, rest)(x), y)

    nnx.update(network, trained(loss, weights, LAST))
    return network


def from_flax(make, path: Path, batch: int | str = "B", **options) -> None:
    """A network of Flax."""
    to_onnx(flax(make), [(batch, 8, 8, 1)], return_mode="file", output_path=str(path), **options)


def from_equinox(path: Path) -> None:
    """A perceptron of Equinox, image by image."""
    network = eqx.nn.MLP(64, 10, 64, 2, key=jax.random.key(0))
    weights, rest = eqx.partition(network, eqx.is_inexact_array)

    def answer(network, x):
        return jax.vmap(lambda image: network(image.reshape(64)))(x)

    weights = trained(lambda w, x, y: cross_entropy(answer(eqx.combine(w, rest), x), y), weights, FIRST)
    network = eqx.combine(weights, rest)
    to_onnx(lambda x: answer(network, x), [("B", 1, 8, 8)], return_mode="file", output_path=str(path))


def from_function(path: Path) -> None:
    """A plain function: lax convolutions, a maximum over windows by reshaping, einsum, tanh."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = [(16, 1, 3, 3), (32, 16, 3, 3), (10, 32, 2, 2)]
    weights = [
        jax.random.normal(key, shape) / np.sqrt(np.prod(shape[1:])) for key, shape in zip(keys, shapes, strict=True)
    ]

    def answer(weights, x):
        x = jnp.tanh(jax.lax.conv(x, weights[0], (1, 1), "SAME"))
        x = jax.nn.softplus(jax.lax.conv(x, weights[1], (2, 2), "SAME"))
        x = x.reshape(-1, 32, 2, 2, 2, 2).max((3, 5))
        return jnp.einsum("nchw,kchw->nk", x, weights[2])

    weights = trained(lambda w, x, y: cross_entropy(answer(w, x), y), weights, FIRST)
    to_onnx(lambda x: answer(weights, x), [("B", 1, 8, 8)], return_mode="file", output_path=str(path))


FILES = {
    "flax_cnn": partial(from_flax, Convolutions),
    "flax_cnn_batch2": partial(from_flax, Convolutions, batch=2),
    "flax_cnn_first": partial(from_flax, Convolutions, inputs_as_nchw=[0]),
    "flax_transformer": partial(from_flax, Transformer),
    "equinox_mlp": from_equinox,
    "function": from_function,
}

produce(FILES)
