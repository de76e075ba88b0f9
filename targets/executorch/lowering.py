"""ExecuTorch lowering: from a torch program to a `.pte` file, prepared for XNNPACK."""

# An extra: not everybody who checks types has it.
# pyright: reportMissingImports=false
from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.errors import EdgeproofError, StageError, reason_of
from ..torch_program import exported
from .log import quiet
from .runtime import runtime

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

_LAYERS = frozenset({"conv1d.default", "conv2d.default", "conv_transpose2d.input", "linear.default"})
# XNNPACK fuses these into the layer before them (gemm_configs.py, fused_acts).
_EPILOGUES = frozenset({"relu.default", "hardtanh.default"})
# Operators, and the partitioner's rule for each, that want one scale on all sides.
_ONE_SCALE = {"cat.default": "CatConfig", "slice.Tensor": "SliceCopyConfig"}


@dataclass(frozen=True)
class Lowered:
    """A `.pte` file's content, and what of it XNNPACK runs.

    Attributes:
        content: the file.
        delegated: number of operators that XNNPACK runs, quantizers included.
        left: what ExecuTorch's portable kernels run, and how often each occurs.
        subgraphs: calls of XNNPACK in one run.
        batch: the largest batch, or the only one.
        free: whether smaller batches are possible.
    """

    content: bytes
    delegated: int
    left: dict[str, int] = field(default_factory=dict)
    subgraphs: int = 1
    batch: int = 1
    free: bool = True

    @property
    def share(self) -> float:
        """The share of operators that XNNPACK runs, in [0, 1]."""
        return self.delegated / max(1, self.delegated + sum(self.left.values()))


def lower(program: nn.Module, image_shape: tuple[int, int, int], *, batch: int, free: bool) -> Lowered:
    """Lower a torch program to XNNPACK, as far as XNNPACK goes.

    Args:
        program: images `[N, C, H, W]` to logits, quantizers as `quantized_decomposed` operators.
        image_shape: `[C, H, W]`.
        batch: the largest batch, or the only one.
        free: whether smaller batches shall be possible; if the program fixes its batch size it is lowered for 1.

    Raises:
        EdgeproofError: the program cannot be computed.
        StageError: the compiler refuses it, or the runtime has no kernel for an operator; in its own words.
    """
    with quiet():
        try:
            return _lower(program, image_shape, batch, free)
        except EdgeproofError:
            raise
        except Exception as error:  # its compiler raises nearly any type: SpecViolationError, AssertionError, ...
            # Its passes wrap what went wrong: "An error occurred when running ...".
            reasons = [reason_of(each) for each in (error, error.__cause__) if each is not None]
            raise StageError("; ".join(reasons)) from error


def _lower(program: nn.Module, image_shape: tuple[int, int, int], batch: int, free: bool) -> Lowered:
    import executorch.kernels.quantized  # noqa: F401  (kernels for quantizers that XNNPACK leaves)
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    first, images, free = _exported(program.eval(), torch.zeros(batch, *image_shape), free)
    prepared = exported(_prepare(first.module()), images, free=free)
    edge = to_edge_transform_and_lower(prepared, partitioner=[XnnpackPartitioner(configs=_configs(prepared))])
    _check_left(edge.exported_program())
    inside, outside = _operators(edge.exported_program().graph_module)
    built = edge.to_executorch()
    _check_kernels(built.executorch_program.execution_plan[0].operators)
    calls = outside.pop("executorch_call_delegate", 0)
    return Lowered(bytes(built.buffer), inside.total(), dict(outside), calls, len(images), free)


def _exported(program: nn.Module, images: Tensor, free: bool) -> tuple[ExportedProgram, Tensor, bool]:
    """Export for any batch size, or for one image where the program turns the size into a number."""
    if free:
        with suppress(EdgeproofError, RuntimeError, ValueError):
            return exported(program, images, free=True), images, True
        images = images[:1]
    return exported(program, images, free=False), images, False


def _prepare(module: nn.Module) -> GraphModule:
    """Bring a graph into the form that XNNPACK's partitioner takes whole; its answers stay what they are.

    Every reader gets a dequantizer of its own: a shared one ties residual branches into a cycle ("Invalid partition").
    A layer that XNNPACK computes in float anyway, because its images or its output are not quantized, gets float
    weights (see `_check_left`), and so does whatever else reads a quantized constant. Clip is fused into a layer only
    where it is written as hardtanh.
    """
    import torch
    from torch.fx import GraphModule, Node

    assert isinstance(module, GraphModule)
    graph = module.graph
    for node in graph.nodes:
        of_layer = _name(node) == "clamp.default" and _name(node.args[0]) in _LAYERS
        if of_layer and len(node.args) == 3 and None not in node.args:
            node.target = torch.ops.aten.hardtanh.default
    for node in [node for node in graph.nodes if _is(node, "dequantize")]:
        for user in list(node.users)[1:]:
            with graph.inserting_before(user):
                user.replace_input_with(node, graph.node_copy(node))
    for node in [node for node in graph.nodes if _is(node, "dequantize")]:
        weight, (user,) = node.args[0], node.users
        if isinstance(weight, Node) and weight.op == "get_attr" and not _in_integers(user):
            arguments = [_constant(module, given) if isinstance(given, Node) else given for given in node.args]
            module.register_buffer(f"float_{node.name}", node.target(*arguments))
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(f"float_{node.name}"))
    graph.eliminate_dead_code()
    _drop_unread_buffers(module)
    module.recompile()
    return module


def _in_integers(reader: Node) -> bool:
    """Whether XNNPACK computes the reader of a quantized constant in integers (gemm_configs.py, get_deps)."""
    if _name(reader) not in _LAYERS:
        return False
    last = reader
    if len(last.users) == 1 and _name(next(iter(last.users))) in _EPILOGUES:
        last = next(iter(last.users))
    images = reader.args[0]
    return _is(images, "dequantize") and len(last.users) == 1 and _is(next(iter(last.users)), "quantize")


def _name(node: Any) -> str:
    return getattr(getattr(node, "target", None), "__name__", "")


def _is(node: Any, what: str) -> bool:
    name = _name(node).removeprefix("quantized_decomposed.")  # so called once lowered
    return name.startswith((f"{what}_per_tensor", f"{what}_per_channel"))


def _constant(module: GraphModule, node: Node) -> Tensor:
    assert isinstance(node.target, str)
    return operator.attrgetter(node.target)(module)


def _drop_unread_buffers(module: GraphModule) -> None:
    """Delete what only the other form of the graph needed: the lowering would write it into the file."""
    read = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in module.named_buffers() if name not in read]:
        owner, _, leaf = name.rpartition(".")
        delattr(module.get_submodule(owner), leaf)


def _configs(program: ExportedProgram) -> list[Any]:
    """What XNNPACK is offered: all it knows, but for Concat and Slice of quantized inputs.

    It wants one scale for inputs and output, and says so only when the file is loaded: "Failed to create cat2 node"
    (pytorch/executorch issue 21829).
    """
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS

    refused = {
        _ONE_SCALE[_name(node)]
        for node in program.graph.nodes
        if _name(node) in _ONE_SCALE and any(_is(given, "dequantize") for given in node.all_input_nodes)
    }
    return [each for each in ALL_PARTITIONER_CONFIGS if each.__name__ not in refused]


def _check_left(lowered: ExportedProgram) -> None:
    """Refuse a program that leaves a layer with integer weights to the portable kernels.

    The partitioner of executorch 1.5.1 has then marked the layer's quantizers as fused into it, although it left the
    layer out (gemm_configs.py, get_deps): XNNPACK drops them, and the answers are wrong without a word.
    """
    constants = lowered.graph_signature.inputs_to_buffers
    for node in lowered.graph.nodes:
        if _is(node, "dequantize") and node.args[0].name in constants:
            layers = ", ".join(_name(user) or str(user) for user in node.users)
            raise StageError(f"XNNPACK does not take {layers} with the quantized weight {constants[node.args[0].name]}")


def _operators(lowered: GraphModule) -> tuple[Counter[str], Counter[str]]:
    """How often each operator stands inside what XNNPACK got, and outside."""
    inside: Counter[str] = Counter()
    for node in lowered.graph.nodes:
        if node.op == "get_attr" and str(node.target).startswith("lowered_module"):
            inside.update(_called(getattr(lowered, str(node.target)).original_module.graph.nodes))
    return inside, Counter(_called(lowered.graph.nodes))


def _called(nodes: Any) -> Iterator[str]:
    for node in nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            yield _name(node)


def _check_kernels(operators: list[Any]) -> None:
    """Refuse what the runtime would refuse with an error number."""
    known = {*runtime()._get_operator_names()}
    names = {f"{each.name}.{each.overload}" if each.overload else each.name for each in operators}
    missing = sorted(names - known)
    if missing:
        raise StageError(f"the runtime has no kernel for: {', '.join(missing)}")
