"""The question about the processor is asked without onnx."""

from __future__ import annotations

import numpy as np
import onnx
from edgeproof.targets.onnxruntime.saturation import product_model
from onnx import TensorProto, helper, numpy_helper


def test_the_model_is_the_one_that_onnx_writes():
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "sums",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [numpy_helper.from_array(np.full((64, 16), 127, np.int8), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    written = onnx.load_from_string(product_model())
    onnx.checker.check_model(written)
    assert written == model
