"""Matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from ..types import INTEGERS


def matmul_exact(a: Tensor, b: Tensor) -> Tensor:
    """numpy's matmul, with both factors in one type."""
    if a.dtype != b.dtype:
        common = torch.promote_types(a.dtype, b.dtype)
        a, b = a.to(common), b.to(common)
    return torch.matmul(a, b)


@operator("MatMul", since=1)
def matmul(node: Node) -> Kernel:
    """numpy's matmul."""
    return matmul_exact if node.elem_type(0) in INTEGERS else torch.matmul


@operator("Gemm", since=7)
def gemm(node: Node) -> Kernel:
    """alpha A' B' + beta C, where C broadcasts and may be left out."""
    alpha, beta = node.float("alpha", 1.0), node.float("beta", 1.0)
    left, right = bool(node.int("transA", 0)), bool(node.int("transB", 0))

    def kernel(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        if alpha == beta == 1 and right and not left and (c is None or c.dim() == 1) and a.is_floating_point():
            return F.linear(a, b, c)  # as torch writes it, so that deployed programs keep the layer in one piece
        a, b = (a.T if left else a), (b.T if right else b)
        if c is None:
            product = a @ b
            return product if alpha == 1 else product * alpha
        if a.is_floating_point():
            return torch.addmm(c, a, b, alpha=alpha, beta=beta)
        return (alpha * (a @ b) + beta * c).to(a.dtype)

    return kernel
