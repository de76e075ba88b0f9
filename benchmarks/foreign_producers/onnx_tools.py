"""Tools that rewrite ONNX files: onnx itself, onnxsim, onnxslim, onnxoptimizer, graph surgeon, converters of types."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
from shared import produce, source

CNN, VIT = "torch_script/cnn_opset17", "torch_script/vit_opset17"


def simplified(name: str, path: Path, **options) -> None:
    """By onnxsim."""
    from onnxsim import simplify

    model, right = simplify(onnx.load(source(name)), **options)
    assert right
    onnx.save(model, path)


def slim(name: str, path: Path, **options) -> None:
    """By onnxslim."""
    import onnxslim

    onnxslim.slim(str(source(name)), str(path), **options)


def optimised(name: str, path: Path) -> None:
    """By onnxoptimizer, every pass for inference."""
    import onnxoptimizer

    onnx.save(onnxoptimizer.optimize(onnx.load(source(name)), onnxoptimizer.get_fuse_and_elimination_passes()), path)


def surgery(name: str, path: Path) -> None:
    """By graph surgeon: folded, and its logits scaled."""
    import onnx_graphsurgeon as surgeon

    graph = surgeon.import_onnx(onnx.load(source(name)))
    graph.fold_constants().cleanup()
    (logits,) = graph.outputs
    scaled = surgeon.Variable("scaled", np.float32, logits.shape)
    graph.layer(op="Mul", inputs=[logits, np.float32(2) * np.ones(1, np.float32)], outputs=[scaled])
    graph.outputs = [scaled]
    onnx.save(surgeon.export_onnx(graph.toposort()), path)


def half(name: str, path: Path, **options) -> None:
    """By onnxconverter-common's converter to float16."""
    from onnxconverter_common import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(source(name)), **options), path)


def mixed(name: str, path: Path) -> None:
    """By onnxconverter-common's search for what may be float16."""
    from onnxconverter_common import auto_mixed_precision
    from shared import IMAGES

    def near(one, other):
        return all(np.allclose(a, b, atol=0.02) for a, b in zip(one, other, strict=True))

    model = onnx.load(source(name))
    found = auto_mixed_precision.auto_convert_mixed_precision(
        model, {"images": IMAGES[:4]}, validate_fn=near, keep_io_types=True
    )
    onnx.save(found, path)


def converted(name: str, path: Path, opset: int) -> None:
    """By onnx's version converter."""
    from onnx import version_converter

    onnx.save(version_converter.convert_version(onnx.load(source(name)), opset), path)


def outside(name: str, path: Path) -> None:
    """By onnx, with its weights beside it."""
    model = onnx.load(source(name))
    onnx.save(model, path, save_as_external_data=True, location=f"{path.stem}.weights", size_threshold=0)


def composed(path: Path) -> None:
    """By onnx.compose: a preprocessing graph before a network."""
    from onnx import compose, parser

    network = onnx.load(source("torch_script/wants_half"))
    version = network.ir_version
    before = parser.parse_model(
        f'<ir_version: {version}, opset_import: ["": 17]> before (float[N,1,8,8] pixels) => (float[N,1,8,8] normal) '
        "{ half = Constant <value = float {0.5}> () moved = Sub (pixels, half) normal = Div (moved, half) }"
    )
    onnx.save(compose.merge_models(before, network, [("normal", "images")]), path)


def functions(path: Path) -> None:
    """By hand in ONNX's text: every layer a call of a function of the model."""
    from onnx import numpy_helper, parser

    weights = [numpy_helper.to_array(each) for each in onnx.load(source(CNN)).graph.initializer]
    # torch has folded the normalisation: weights and biases of the convolutions stand in order.
    kernels, rows = [w for w in weights if w.ndim == 4], [w for w in weights if w.ndim == 1 and len(w) > 10]
    head, bias = next(w for w in weights if w.ndim == 2), next(w for w in weights if w.shape == (10,))
    named = {
        f"{kind}{place}": value for kind, values in (("w", kernels), ("b", rows)) for place, value in enumerate(values)
    }
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18, "edge": 1]>
        network (float[N,1,8,8] images) => (float[N,10] logits) {
          a = edge.Layer <stride = [1, 1]> (images, w0, b0)
          b = edge.Layer <stride = [2, 2]> (a, w1, b1)
          c = edge.Layer <stride = [1, 1]> (b, w2, b2)
          d = Add (b, c)
          e = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (d)
          f = Flatten (e)
          logits = Gemm <transB = 1> (f, head, bias)
        }
        <domain: "edge", opset_import: ["": 18]>
        Layer <stride> (x, w, b) => (y) {
          z = Conv <pads = [1, 1, 1, 1], strides: ints = @stride> (x, w, b)
          y = Relu (z)
        }""")
    named |= {"head": head, "bias": bias}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in named.items())
    onnx.save(model, path)


def by_spox(path: Path) -> None:
    """By hand in spox: a perceptron from the weights of another file."""
    import spox.opset.ai.onnx.v18 as op
    from onnx import numpy_helper
    from spox import Tensor, argument, build

    weights = [numpy_helper.to_array(each) for each in onnx.load(source("torch_script/mlp_flat")).graph.initializer]
    matrices, rows = [w for w in weights if w.ndim == 2], [w for w in weights if w.ndim == 1]
    images = argument(Tensor(np.float32, ("N", 1, 8, 8)))
    x = op.flatten(images)
    for place, matrix in enumerate(matrices):
        row = next(each for each in rows if len(each) == len(matrix))
        x = op.gemm(x, op.constant(value=matrix), op.constant(value=row), transB=1)
        x = op.relu(x) if place < len(matrices) - 1 else x
    onnx.save(build({"images": images}, {"logits": x}), path)


FILES = {
    "onnxsim_cnn": partial(simplified, CNN),
    "onnxsim_qdq": partial(simplified, "onnxruntime_tools/qdq"),
    "onnxslim_vit": partial(slim, VIT),
    "onnxslim_half": partial(slim, CNN, dtype="fp16"),
    "optimizer_cnn": partial(optimised, CNN),
    "surgeon_cnn": partial(surgery, CNN),
    "half_cnn": partial(half, CNN),
    "half_vit_inside": partial(half, VIT, keep_io_types=True, op_block_list=["LayerNormalization", "Softmax"]),
    "mixed_cnn": partial(mixed, CNN),
    "opset_vit_23": partial(converted, VIT, opset=23),
    "external": partial(outside, VIT),
    "composed": composed,
    "functions": functions,
    "spox": by_spox,
}

produce(FILES)
