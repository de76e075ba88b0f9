"""What the cores can compute at best in INT8, and what a network asks of them: the limit of every engine's speed."""

from __future__ import annotations

import time

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

SIDES = (512, 1024)
ROUNDS = 30


def int8_peak(threads: int) -> float:
    """The fastest product of two INT8 matrices seen, in operations a second: ONNX Runtime's MatMulInteger, U8 by S8."""
    rng = np.random.default_rng(0)
    best = 0.0
    for side in SIDES:
        weight = numpy_helper.from_array(rng.integers(-64, 64, (side, side), dtype=np.int8), "weight")
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, [side, side])
        product = helper.make_tensor_value_info("product", TensorProto.INT32, [side, side])
        node = helper.make_node("MatMulInteger", ["image", "weight"], ["product"])
        graph = helper.make_graph([node], "peak", [image], [product], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        options = SessionOptions()
        options.intra_op_num_threads = threads
        session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        images = rng.integers(0, 128, (side, side), dtype=np.uint8)
        for _ in range(ROUNDS):
            started = time.perf_counter()
            session.run(None, {"image": images})
            best = max(best, 2 * side**3 / (time.perf_counter() - started))
    return best


def operations(module: torch.nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiplications and additions of a network's convolutions and linear layers for one image `[C, H, W]`."""
    counted = 0

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            counted += 2 * output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    with torch.inference_mode():
        module(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return counted
