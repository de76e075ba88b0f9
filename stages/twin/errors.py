"""Unsupported graphs: what the twin refuses, and why, in one line."""

from __future__ import annotations

from ...core.errors import ModelError


class NoTwin(ModelError):
    """A graph that the twin cannot reproduce, though runtimes may run it; it is attacked without its gradients."""


class UnsupportedOperator(NoTwin):
    """A node the twin cannot reproduce exactly: unknown operator, unknown attribute, or an opset not claimed.

    Raised when a twin is constructed, never in the middle of an attack.

    Args:
        node: name of the node (its first output where the exporter gave it no name).
        op_type: operator, such as ``"Conv"``.
        domain: operator domain; the empty string is ``ai.onnx``.
        opset: version of the domain that the model declares.
        reason: what about the node is not supported.
    """

    def __init__(self, *, node: str, op_type: str, domain: str, opset: int, reason: str) -> None:
        self.node, self.op_type, self.domain, self.opset, self.reason = node, op_type, domain, opset, reason
        super().__init__(
            f"node '{node}' ({op_type}, {domain or 'ai.onnx'} opset {opset}): {reason}. Export the model with another "
            f"opset or without this operator (edgeproof.stages.twin.supported_operators() lists what is known), "
            f"or verify the engine with a surrogate model for the gradients"
        )
