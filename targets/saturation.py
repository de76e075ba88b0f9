"""Whether this machine's fast int8 kernels add up exactly."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_DEPTH, _WIDTH = 64, 16


@cache
def sums_saturate() -> bool:
    """Whether ONNX Runtime's kernels for unsigned activations and signed weights lose sums here.

    x86 without VNNI adds pairs of products in 16 bits, which saturate (onnxruntime.ai, "Quantize ONNX models", "When
    and why do I need to try U8U8"). Asked of the runtime itself, with the largest products there are, because no flag
    of the processor says which kernel it takes.
    """
    import onnxruntime

    weights = np.full((_DEPTH, _WIDTH), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "sums",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, _DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, _WIDTH])],
        [numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"a": np.full((1, _DEPTH), 255, np.uint8)})
    return bool((np.asarray(sums) != _DEPTH * 255 * 127).any())
