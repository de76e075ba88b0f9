"""Quantization schemes: what every target wants its QDQ graph to look like, and where that is known from.

"Tried" means: small graphs with one departure each, and a ResNet-18, were given to the runtime itself
(ONNX Runtime 1.31.1, TensorRT for RTX 1.7.1.116, OpenVINO 2026.4.1, all on x86), and its answers compared with the
unoptimised graph's.
"""

from __future__ import annotations

from .base import Scheme

# Tried: per-channel scales along another axis than the output channels are taken for the output channels' where the
# sizes allow it, without a word, and the answers are wrong; so they are of convolutions whose activations are 8-bit
# floats.
_MISREAD_BY_ORT = ("float8-activation", "weight-axis")

# Parser and builder of TensorRT for RTX, which share their source with TensorRT's. Tried: a zero point other than 0, an
# int32 DequantizeLinear, unsigned weights and a scale of 0 or less are parse errors; unsigned activations, and
# quantizers without a zero point, are read as int8 with a warning or none; scales that are computed crash the parser.
# Scales per channel are defined for constants only (NvInfer.h, IDequantizeLayer).
_REFUSED_BY_TENSORRT = (
    "activation-per-channel",
    "activation-type",
    "activation-zero-point",
    "dynamic-parameter",
    "int32-bias",
    "missing-zero-point",
    "weight-type",
    "weight-zero-point",
)

# What `OnnxParser.supports_operator` of TensorRT for RTX 1.7.1.116 denies, of the operators of ONNX 1.23.
# fmt: off
_NOT_IN_TENSORRT = (
    "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger", "CumProd", "DFT", "DeformConv", "Det",
    "DynamicQuantizeLinear", "ImageDecoder", "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix",
    "Multinomial", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement", "QLinearConv",
    "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringConcat",
    "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique",
)
# fmt: on

# TensorRT, "Working with Quantized Types": symmetric quantization only, signed types, weights per channel; "Explicit
# Quantization", Q/DQ placement: nothing between an operator and its activation. Biases stay float: the parser takes
# no int32 DequantizeLinear (onnx-tensorrt issue 850, onnxruntime issue 14229).
_TENSORRT = Scheme(
    "s8s8",
    activation="int8",
    activation_symmetric=True,
    quantize_bias=False,
    weight_qdq_pair=True,
    epilogue="fused",
    refuses=_REFUSED_BY_TENSORRT,
    refused_operators=_NOT_IN_TENSORRT,
)

SCHEMES: dict[str, Scheme] = {
    # x86: with VNNI or AVX2, unsigned activations have the fast kernels (onnxruntime.ai, "Quantize ONNX models", data
    # type selection); signed ones took twice as long on a ResNet-18. A Conv becomes a QLinearConv only between
    # DequantizeLinear and QuantizeLinear, and a Relu or Clip behind it may stand in between only if the quantizer makes
    # it redundant (onnxruntime, qdq_selectors.cc, NodeGroupSelector::GetQDQSelection; tried). Float biases are
    # quantized on loading from 1.21 on only (pull requests 22889 and 22969).
    "onnxruntime": Scheme(
        "u8s8",
        activation="uint8",
        epilogue="redundant",
        quantized_outputs=True,
        refuses=_MISREAD_BY_ORT,
        domains=("com.microsoft",),
    ),
    "tensorrt": _TENSORRT,
    "tensorrt_rtx": _TENSORRT,
    # OpenVINO's CPU plugin: symmetric weights and asymmetric activations are NNCF's preset "mixed". Tried: unsigned
    # activations are fastest (ResNet-18: 3.9 ms; signed symmetric 6.9 ms), weights that are unsigned or have a zero
    # point or scales along another axis make a convolution run in float. Biases may be float, as NNCF writes them, or
    # int32: both become constants of the compiled model. Where activations stand does not matter.
    "openvino": Scheme("u8s8-float-bias", activation="uint8", quantize_bias=False, accepts=("int32-bias",)),
    # XNNPACK's delegate (executorch, backends/xnnpack): XNNPACKQuantizer's get_symmetric_quantization_config is int8
    # per tensor and affine for activations, int8 symmetric per channel for weights, no quantized bias; the delegate
    # makes the int32 bias itself (QuantParams.from_bias) and wants a constant (gemm_configs.py, _get_bias_deps).
    # NodeVisitor.get_serialized_dtype writes uint8 as int8, and get_quant_params drops per-channel zero points.
    # _get_output_deps wants a quantizer behind every quantized operator, after at most one fused activation.
    "executorch": Scheme(
        "s8s8-asymmetric-float-bias",
        activation="int8",
        quantize_bias=False,
        epilogue="fused",
        quantized_outputs=True,
        refuses=(
            "activation-per-channel",
            "activation-type",
            "dynamic-parameter",
            "int32-bias",
            "weight-axis",
            "weight-type",
            "weight-zero-point",
        ),
    ),
    # ONNX Runtime on ARM64: int8 on both sides goes straight to the SDOT kernels, while uint8 activations need the
    # weights flipped to uint8 (onnxruntime pull request 9902). Activations may have any zero point: it is folded into
    # the packed weights' column sums; the weights' must be 0 (qlinearconv.cc, MlasConvSymFixupInputZeroPoint). The rest
    # is as on x86. Not tried on such a machine.
    "arm": Scheme(
        "s8s8-asymmetric",
        activation="int8",
        epilogue="redundant",
        quantized_outputs=True,
        refuses=_MISREAD_BY_ORT,
        domains=("com.microsoft",),
    ),
}
