"""bfloat16 conversion: Casts at both ends, and around every operator that bfloat16 does not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from ml_dtypes import bfloat16
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference, version_converter

from ...core.errors import StageError, reason_of
from ...core.onnx_reader import read_onnx

# The first opset whose Conv, pooling and normalisation take bfloat16.
OPSET = 22
_BFLOAT = "tensor(bfloat16)"


def to_bfloat16(float_model: Path, path: Path) -> None:
    """Write the file with bfloat16 weights and activations; images and logits stay float32.

    Raises:
        StageError: it cannot be converted.
    """
    try:
        model = read_onnx(float_model)
        if _opset(model) < OPSET:
            model = version_converter.convert_version(model, OPSET)
        model = shape_inference.infer_shapes(model, strict_mode=True)
        _Rewriting(model).run()
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises errors of several families
        raise StageError(f"quantize: bf16: {reason_of(error)}") from error
    path.write_bytes(model.SerializeToString(deterministic=True))


class _Rewriting:
    """Makes every float32 tensor bfloat16 but images, logits, and what an operator takes in float32 alone."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._graph = model.graph
        self._opset = _opset(model)
        typed = (*self._graph.value_info, *self._graph.input, *self._graph.output)
        self._floats = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        self._weights = {t.name: t for t in self._graph.initializer if t.data_type == TensorProto.FLOAT}
        self._floats |= self._weights.keys()
        self._nodes: list[onnx.NodeProto] = []
        # Tensors as both types, once somebody needs the other.
        self._cast: dict[tuple[str, int], str] = {}
        self._bfloat: set[str] = set()

    def run(self) -> None:
        """Rewrite the model in place."""
        outputs = {value.name for value in self._graph.output}
        for node in self._graph.node:
            self._rewrite(node, outputs)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.value_info[:]
        wanted = {name for node in self._nodes for name in node.input} | outputs
        kept = [tensor for tensor in self._graph.initializer if tensor.name in wanted]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _rewrite(self, node: onnx.NodeProto, outputs: set[str]) -> None:
        fits = self._takes_bfloat(node)
        kind = TensorProto.BFLOAT16 if fits else TensorProto.FLOAT
        for place, name in enumerate(node.input):
            if name in self._floats:
                node.input[place] = self._as(name, kind)
        if fits:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.BFLOAT16
                elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                    attribute.t.CopyFrom(_bfloat_tensor(numpy_helper.to_array(attribute.t), attribute.t.name))
        self._nodes.append(node)
        for place, name in enumerate(node.output):
            if not fits or name not in self._floats:
                continue
            if name in outputs:
                node.output[place] = inner = f"{name}_bf16"
                self._nodes.append(helper.make_node("Cast", [inner], [name], f"{name}_to_float", to=TensorProto.FLOAT))
                self._cast[name, TensorProto.BFLOAT16] = inner
            else:
                self._bfloat.add(name)

    def _as(self, name: str, kind: int) -> str:
        """The name of a float tensor as one of the two types; a Cast is added where it is not there yet."""
        have = TensorProto.BFLOAT16 if name in self._bfloat else TensorProto.FLOAT
        if have == kind:
            return name
        if (name, kind) not in self._cast:
            self._cast[name, kind] = other = f"{name}_{'bf16' if kind == TensorProto.BFLOAT16 else 'float'}"
            if name in self._weights:
                self._graph.initializer.append(_bfloat_tensor(numpy_helper.to_array(self._weights[name]), other))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [other], f"{other}_cast", to=kind))
        return self._cast[name, kind]

    def _takes_bfloat(self, node: onnx.NodeProto) -> bool:
        """Whether every float tensor at an operator may be bfloat16 there."""
        if node.domain not in ("", "ai.onnx") or any(a.HasField("g") or a.graphs for a in node.attribute):
            return False
        schema = defs.get_schema(node.op_type, self._opset)
        allowed = {each.type_param_str: set(each.allowed_type_strs) for each in schema.type_constraints}
        for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs)):
            for place, name in enumerate(names):
                formal = formals[min(place, len(formals) - 1)]
                if name in self._floats and _BFLOAT not in allowed.get(formal.type_str, {formal.type_str}):
                    return False
        return True


def _bfloat_tensor(values: np.ndarray, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(bfloat16), name)


def _opset(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
