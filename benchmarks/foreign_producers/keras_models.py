"""Keras' own ONNX export, with torch behind it."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
from keras import layers, ops
from shared import IMAGES, LABELS, produce

LAST = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))


@cache
def trained(make) -> keras.Model:
    """A network, trained once a process."""
    keras.utils.set_random_seed(0)
    network = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.AdamW(3e-3), loss, metrics=["accuracy"])
    network.fit(LAST, LABELS, batch_size=64, epochs=8, verbose=0)
    print(f"{make.__name__}: {network.evaluate(LAST[:1000], LABELS[:1000], verbose=0)[1]:.3f}", flush=True)
    return network


def convolutions() -> keras.Model:
    """Convolutions and a residual sum."""
    images = layers.Input((8, 8, 1))
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(images)
    y = layers.BatchNormalization()(layers.Conv2D(24, 3, padding="same")(x))
    x = layers.AveragePooling2D(2)(layers.ReLU()(x + y))
    return keras.Model(images, layers.Dense(10)(layers.Flatten()(x)))


def separable() -> keras.Model:
    """Depthwise separable convolutions with a gate for each channel."""
    images = layers.Input((8, 8, 1))
    x = layers.Conv2D(24, 3, padding="same", activation="silu")(images)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = x * layers.Conv2D(24, 1, activation="sigmoid")(gate)
    x = layers.SeparableConv2D(32, 3, strides=2, padding="same", activation="relu6")(x)
    return keras.Model(images, layers.Dense(10)(layers.GlobalMaxPooling2D()(x)))


def transformer() -> keras.Model:
    """Attention between patches."""
    images = layers.Input((8, 8, 1))
    x = layers.Reshape((16, 32))(layers.Conv2D(32, 2, strides=2)(images))
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 16)(y, y)
    x = x + layers.Dense(32)(layers.Dense(64, activation="gelu")(layers.LayerNormalization()(x)))
    return keras.Model(images, layers.Dense(10)(layers.Flatten()(x)))


def functional() -> keras.Model:
    """Operations of keras.ops between layers."""
    images = layers.Input((8, 8, 1))
    x = ops.concatenate([images, ops.square(images), ops.flip(images, axis=2)], axis=-1)
    x = layers.Conv2D(24, 3, strides=2, activation="elu")(x)
    x = ops.log1p(ops.exp(layers.GroupNormalization(4)(x)))
    return keras.Model(images, layers.Dense(10)(ops.reshape(x, (-1, 216))))


def layer(make, path: Path, **options) -> None:
    """A network of its own kind."""
    trained(make).export(str(path), format="onnx", verbose=False, **options)


FILES = {
    "convolutions": partial(layer, convolutions),
    "separable": partial(layer, separable),
    "transformer": partial(layer, transformer),
    "functional": partial(layer, functional),
}

produce(FILES)
