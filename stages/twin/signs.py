"""Sign analysis: values never below zero, whose quantizer has no lower clip to speak of."""

from __future__ import annotations

from .node import Node

# Never negative, whatever they are given.
_RECTIFIERS = frozenset({"Relu", "Sigmoid", "Softmax", "Abs", "HardSigmoid"})
# Never negative where their first input never is; a quantizer's grid contains zero.
_KEEPERS = frozenset(
    {
        "AveragePool",
        "DequantizeLinear",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


def never_negative(node: Node) -> bool:
    """Whether the first output of a node of ONNX's own operators is certain to have no element below zero.

    Of a QuantizeLinear: whether that holds of what the DequantizeLinear behind it returns.
    """
    if node.domain:
        return False
    if node.op_type in _RECTIFIERS:
        return True
    if node.op_type == "Clip":
        low = node.constant(1) if node.has(1) else None
        return low is not None and float(low) >= 0
    return node.op_type in _KEEPERS and node.inputs[0] is not None and node.inputs[0].positive
