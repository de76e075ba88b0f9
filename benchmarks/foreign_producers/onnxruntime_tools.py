"""ONNX Runtime's quantizers, graph optimisers and formats, on files of torch."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime import quantization as q
from onnxruntime.quantization import matmul_nbits_quantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from shared import Calibration, produce, source

CNN, VIT = "torch_script/cnn_opset17", "torch_script/vit_opset17"


class Reader(Calibration, q.CalibrationDataReader):
    """Calibration images, as a reader of ONNX Runtime."""


def static(name: str, path: Path, types: str = "u8s8", form: str = "QDQ", **options) -> None:
    """Quantize with calibration, activations and weights of the types named."""
    of = {"u8": q.QuantType.QUInt8, "s8": q.QuantType.QInt8, "u16": q.QuantType.QUInt16, "s16": q.QuantType.QInt16}
    of |= {"u4": q.QuantType.QUInt4, "s4": q.QuantType.QInt4, "f8": q.QuantType.QFLOAT8E4M3FN}
    split = next(place for place in range(2, len(types)) if not types[place].isdigit())
    kinds = {"activation_type": of[types[:split]], "weight_type": of[types[split:]]}
    with tempfile.TemporaryDirectory() as folder:
        quant_pre_process(str(source(name)), prepared := f"{folder}/prepared.onnx", skip_symbolic_shape=True)
        form = getattr(q.QuantFormat, form)
        q.quantize_static(prepared, str(path), Reader(), quant_format=form, **kinds, **options)


def dynamic(name: str, path: Path, **options) -> None:
    """Quantize the weights; activations by the range of every batch."""
    q.quantize_dynamic(str(source(name)), str(path), **options)


def few_bits(path: Path, form: str = "QOperator", name: str = VIT, **options) -> None:
    """Weights of 4 bits in blocks."""
    options = {"block_size": 16, "is_symmetric": False, "quant_format": getattr(q.QuantFormat, form), **options}
    quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(onnx.load(source(name)), **options)
    quantizer.process()
    quantizer.model.save_model_to_file(str(path))


def optimised(name: str, path: Path, level: str = "ORT_ENABLE_EXTENDED") -> None:
    """What the session made of a file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(str(source(name)), options, providers=["CPUExecutionProvider"])


def of_this(name: str, path: Path, **options) -> None:
    """The session's form of a file that this script wrote."""
    optimised(f"{path.parent.name}/{name}", path, **options)


def transformer(path: Path, half: bool = False, **settings) -> None:
    """The optimiser for transformers."""
    from onnxruntime.transformers import fusion_options, optimizer

    options = fusion_options.FusionOptions("vit")
    for name, value in settings.items():
        setattr(options, name, value)
    model = optimizer.optimize_model(str(source(VIT)), "vit", 2, 32, options)
    if half:
        model.convert_float_to_float16(keep_io_types=True)
    model.save_model_to_file(str(path))


CONVOLUTIONS = {"op_types_to_quantize": ["Conv", "Gemm"]}
SYMMETRIC = {"extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True}}

FILES = {
    "qdq": partial(static, CNN),
    "qdq_channels": partial(static, CNN, types="s8s8", per_channel=True),
    "qdq_a16w8": partial(static, CNN, types="u16u8"),
    "qdq_w4": partial(static, VIT, types="u8s4", per_channel=True, op_types_to_quantize=["MatMul", "Gemm"]),
    "qdq_vit": partial(static, VIT, types="u8s8", per_channel=True),
    "qoperator": partial(static, CNN, form="QOperator", per_channel=True),
    "qoperator_vit": partial(static, VIT, types="u8u8", form="QOperator"),
    "qoperator_hourglass": partial(static, "torch_script/hourglass", types="u8u8", form="QOperator"),
    "qoperator_gates": partial(static, "torch_script/squeeze_excite", types="u8u8", form="QOperator"),
    "dynamic": partial(dynamic, CNN),
    "dynamic_vit": partial(dynamic, VIT, weight_type=q.QuantType.QInt8, per_channel=True),
    "dynamic_lstm": partial(dynamic, "torch_script/lstm", weight_type=q.QuantType.QUInt8),
    "four_bits": few_bits,
    "four_bits_level4": partial(few_bits, accuracy_level=4, block_size=32),
    "four_bits_qdq": partial(few_bits, form="QDQ", name="torch_dynamo/vit"),
    "eight_bits": partial(few_bits, bits=8),
    "optimised": partial(optimised, CNN),
    "optimised_all": partial(optimised, CNN, level="ORT_ENABLE_ALL"),
    "optimised_vit": partial(optimised, VIT),
    "optimised_gates": partial(optimised, "torch_script/squeeze_excite", level="ORT_ENABLE_ALL"),
    "optimised_qdq_all": partial(of_this, "qdq_channels", level="ORT_ENABLE_ALL"),
    "optimised_dynamic": partial(of_this, "dynamic_vit"),
    "transformer": transformer,
    "transformer_packed": partial(transformer, use_multi_head_attention=True),
    "transformer_half": partial(transformer, half=True),
    "cnn.ort": partial(optimised, CNN, level="ORT_ENABLE_ALL"),
}

produce(FILES)
