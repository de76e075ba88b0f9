"""TensorFlow and Keras networks by tf2onnx, from Keras, functions, saved models and TensorFlow Lite."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "0"
import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from keras import layers
from shared import IMAGES, LABELS, produce, tinted

tf.config.threading.set_intra_op_parallelism_threads(1)
LAST = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))


def fit(network: keras.Model, images: np.ndarray = LAST, epochs: int = 12) -> keras.Model:
    """Train a network that ends in logits, or in probabilities where its last layer says so."""
    keras.utils.set_random_seed(0)
    squashed = getattr(network.layers[-1], "activation", None) is keras.activations.softmax
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not squashed)
    network.compile(keras.optimizers.AdamW(3e-3), loss, metrics=["accuracy"])
    network.fit(images, LABELS, batch_size=64, epochs=epochs, verbose=0)
    print(f"{network.name}: {network.evaluate(images[:1000], LABELS[:1000], verbose=0)[1]:.3f}", flush=True)
    return network


def gelu(x):
    """By tanh: tf2onnx writes the exact one as an operator Erfc that there is not."""
    return keras.activations.gelu(x, approximate=True)


def convolutions(channels: int = 1, last: str | None = None) -> list:
    """Convolutions and batch normalisation."""
    return [
        layers.Input((8, 8, channels)),
        layers.Conv2D(12, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(24, 3, strides=2, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(10, activation=last),
    ]


def separable() -> list:
    """Depthwise separable convolutions, hard swish, average pooling."""
    return [
        layers.Input((8, 8, 1)),
        layers.Conv2D(24, 3, padding="same", activation="hard_silu"),
        layers.SeparableConv2D(32, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(6),
        layers.ZeroPadding2D(((0, 1), (0, 1))),
        layers.DepthwiseConv2D(3, strides=2),
        layers.LeakyReLU(),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Conv2D(32, 3, activation=gelu),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ]


def recurrent(cell: type) -> list:
    """A recurrent layer that reads the rows of an image."""
    return [layers.Input((8, 8, 1)), layers.Reshape((8, 8)), cell(32), layers.Dense(10)]


class Places(layers.Layer):
    """A learnt shift of every patch."""

    def build(self, shape) -> None:
        """One weight a patch and number."""
        self.shift = self.add_weight(shape=shape[1:], initializer="random_normal")

    def call(self, x):
        """The patches with their places."""
        return x + self.shift


def transformer() -> keras.Model:
    """Multi-head attention between patches."""
    images = x = layers.Input((8, 8, 1))
    x = layers.Reshape((16, 32))(layers.Conv2D(32, 2, strides=2)(x))
    x = Places()(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 16)(y, y)
        x = x + layers.Dense(32)(layers.Dense(64, activation=gelu)(layers.LayerNormalization()(x)))
    return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


@cache
def trained(make, **options) -> keras.Model:
    """A network, trained once a process."""
    keras.utils.set_random_seed(0)
    made = make(**options)
    return fit(keras.Sequential(made) if isinstance(made, list) else made)


def call(network: keras.Model):
    """A function of a network, as tf2onnx reads it from Keras 3."""

    @tf.function
    def images_to_logits(images):
        return network(images, training=False)

    return images_to_logits


def by_function(network: keras.Model, path: Path, shape=(None, 8, 8, 1), **options) -> None:
    """Write a network by way of tf.function."""
    signature = [tf.TensorSpec(shape, tf.float32, name="images")]
    tf2onnx.convert.from_function(call(network), signature, output_path=str(path), **{"opset": 17, **options})


def layer(make, path: Path, shape=(None, 8, 8, 1), export: dict | None = None, **options) -> None:
    """A network of its own kind."""
    by_function(trained(make, **options), path, shape, **(export or {}))


def by_keras(path: Path) -> None:
    """Keras' own export, with TensorFlow behind it."""
    trained(convolutions).export(str(path), format="onnx", verbose=False)


def by_saved_model(path: Path) -> None:
    """A saved model, by the command."""
    with tempfile.TemporaryDirectory() as folder:
        trained(convolutions).export(folder, verbose=False)
        command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", folder, "--output", str(path)]
        subprocess.run([*command, "--opset", "15"], check=True)


def by_lite(path: Path, quantized: str = "") -> None:
    """TensorFlow Lite, in floats, with 8-bit weights, or in 8 bits throughout."""
    signature = call(trained(convolutions)).get_concrete_function(tf.TensorSpec((1, 8, 8, 1), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature])
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in LAST[:200])
    if quantized == "bytes":
        converter.inference_input_type = tf.uint8
    with tempfile.TemporaryDirectory() as folder:
        (lite := Path(folder) / "model.tflite").write_bytes(converter.convert())
        command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", str(lite), "--output", str(path)]
        subprocess.run([*command, "--opset", "17"], check=True)


def from_bytes(path: Path) -> None:
    """Bytes go in, and a Rescaling layer follows."""
    network = trained(convolutions)

    @tf.function
    def images_to_logits(images):
        return network(tf.cast(images, tf.float32) / 255.0, training=False)

    signature = [tf.TensorSpec((None, 8, 8, 1), tf.uint8, name="images")]
    tf2onnx.convert.from_function(images_to_logits, signature, opset=17, output_path=str(path))


def wants_half(path: Path) -> None:
    """Pixels from -1 to 1, three channels, as Keras' MobileNets want them."""
    colour = np.ascontiguousarray(tinted(IMAGES).transpose(0, 2, 3, 1)) * 2 - 1
    by_function(fit(keras.Sequential(convolutions(3)), colour), path, (None, 8, 8, 3))


FILES = {
    "cnn_opset17": partial(layer, convolutions),
    "cnn_first": partial(layer, convolutions, export={"inputs_as_nchw": ["images"]}),
    "cnn_batch4": partial(layer, convolutions, shape=(4, 8, 8, 1)),
    "cnn_softmax": partial(layer, convolutions, last="softmax"),
    "separable": partial(layer, separable),
    "transformer": partial(layer, transformer),
    "lstm": partial(layer, partial(recurrent, layers.LSTM)),
    "keras_export": by_keras,
    "lite_int8": partial(by_lite, quantized="floats"),
    "lite_bytes": partial(by_lite, quantized="bytes"),
    "bytes_last": from_bytes,
    "wants_half": wants_half,
}

produce(FILES)
