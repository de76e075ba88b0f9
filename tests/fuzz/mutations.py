"""Seeded mutations of recipes, JSON documents, ONNX files and archives."""

from __future__ import annotations

import copy
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from edgeproof.core.reading.checksum import CHECKSUM, with_checksum
from onnx import helper

NASTY: list[Any] = [
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    -(10**30),
    0.5,
    -0.0,
    1e-300,
    1e308,
    "",
    "x",
    "../../../../tmp/evil",
    "/etc/passwd",
    "~nosuchuser/x",
    "a\0b",
    "a\nb\n::error::c",
    "\x1b[31m",
    "\ud800",
    "é" * 300,
    "n" * 5000,
    "8/255",
    "nan",
    [],
    {},
    [[]],
    [{}],
    {"x": []},
    ["a", 1, None],
    [0] * 50,
]
YAML = [
    "!!int abc",
    "!!bool zz",
    "!!binary ===",
    "!!set {a}",
    "!!python/object:os.system x",
    "2001-02-30",
    "2001-01-01 99:99:99",
    "1" * 5000,
    "0x_",
    "1:99",
    ".nan",
    "-.inf",
    "&a [*a]",
    "*nowhere",
    "&a {b: *a}",
    "[" * 200,
    "{a: " * 200,
    '"\\0"',
    '"\\uD83D"',
    '"\\e[31m"',
    "~nosuchuser/x",
    "<<: *x",
    "? [a]",
    "'",
    "|\n  x",
    "\t",
    "%TAG ! x",
    "--- \n...",
]
JSON = ["NaN", "-Infinity", "1e999", "1" * 5000, "[" * 5000, '"\\ud800"', '{"a":1,"a":2}', "nul", "'x'", "\x00", "[1,]"]


def mutated_text(text: str, rng: random.Random, nasty: list[str]) -> bytes:
    """A YAML or JSON text with a few bytes, lines or values changed."""
    content = text
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        lines = content.split("\n")
        place = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0:
            lines.insert(rng.randrange(len(lines)), lines[place])
        elif kind == 1:
            del lines[place]
        elif kind == 2:
            head, colon, _ = lines[place].partition(":")
            lines[place] = f"{head}{colon} {rng.choice(nasty)}"
        elif kind == 3:
            lines[place] = lines[place].replace(rng.choice(",:{}[]\"' ") or " ", rng.choice(nasty), 1)
        elif kind == 4:
            lines[place] = " " * rng.randrange(4) + lines[place].lstrip()
        elif kind == 5:
            lines.insert(place, rng.choice(nasty))
        else:
            raw = bytearray("\n".join(lines).encode(errors="surrogatepass"))
            for _ in range(rng.randrange(1, 4)):
                if raw:
                    raw[rng.randrange(len(raw))] = rng.randrange(256)
            return bytes(raw)
        content = "\n".join(lines)
    return content.encode(errors="surrogatepass")


def mutated_value(value: Any, rng: random.Random) -> Any:
    """A JSON value in which a few places hold something else, are missing or are there besides."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2))):
        places = [(None, None), *_places(value)]
        holder, key = places[rng.randrange(len(places))]
        new = copy.deepcopy(rng.choice(NASTY))
        if holder is None:
            if rng.random() < 0.1:
                value = new
        elif rng.random() < 0.2:
            del holder[key]
        elif isinstance(holder, dict) and rng.random() < 0.1:
            holder[rng.choice(["x", "", "../x", "a\nb", "__class__", "schema_version"])] = new
        elif isinstance(holder, list) and rng.random() < 0.2:
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = new
        if not isinstance(value, (dict, list)):
            break
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        holder = pending.pop()
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                pending.append(holder[key])
    return found


def mutated_json(value: Any, rng: random.Random) -> bytes:
    """A JSON document, changed as a value or as a text."""
    if rng.random() < 0.3:
        content = mutated_text(json.dumps(value, indent=1), rng, JSON)
    else:
        content = json.dumps(mutated_value(value, rng)).encode()
    return _fitted(content) if rng.random() < 0.9 else content


def _fitted(content: bytes) -> bytes:
    """A JSON document whose checksum, if it has one, is made good: somebody else may do so, too."""
    try:
        found = json.loads(content)
        fits = isinstance(found, dict) and CHECKSUM in found
        return json.dumps(with_checksum(found)).encode() if fits else content
    except (ValueError, RecursionError):
        return content


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, taken out or put in."""
    raw = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(raw) or 1)
        kind = rng.randrange(5)
        if kind == 0 and raw:
            raw[place] = rng.randrange(256)
        elif kind == 1 and raw:
            raw[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del raw[place : place + rng.choice((1, 4, 100))]
        elif kind == 3:
            raw[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4))))
        elif rng.random() < 0.2:
            del raw[place:]
    return bytes(raw)


def mutated_onnx(content: bytes, rng: random.Random) -> bytes:
    """An ONNX file with bytes changed, or with a graph that hurts."""
    if rng.random() < 0.4:
        return mutated_bytes(content, rng)
    model = onnx.load_model_from_string(content)
    rng.choice(HARMS)(model, rng)
    return model.SerializeToString()


def _dimension(model: onnx.ModelProto, rng: random.Random) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output])
    sizes = value.type.tensor_type.shape.dim
    if sizes:
        rng.choice(sizes).dim_value = rng.choice([0, -1, 2**31, 2**40, 2**62])


def _tensor(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    kind = rng.randrange(4)
    if kind == 0:
        tensor.dims[:] = [rng.choice([-1, 0, 2**31, 2**62]) for _ in range(rng.randrange(4))]
    elif kind == 1:
        tensor.data_type = rng.choice([0, 8, 16, 17, 23, 29, 99, -5])
    elif kind == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    else:
        place = rng.choice(["../../etc/passwd", "/dev/zero", "x" * 3000, "", "a\0b", "nowhere.bin"])
        tensor.raw_data = tensor.raw_data or b"x"
        onnx.external_data_helper.set_external_data(tensor, place, offset=rng.choice([0, 2**62]), length=2**40)
        tensor.ClearField("raw_data")


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    if node.attribute and rng.random() < 0.6:
        entry = rng.choice(node.attribute)
        if entry.ints:
            entry.ints[rng.randrange(len(entry.ints))] = rng.choice([-1, 0, 2**31, 2**62])
        elif entry.type == onnx.AttributeProto.STRING:
            entry.s = b"\xfa\xff"
        else:
            entry.i, entry.type = rng.choice([-1, 99, 2**62]), rng.randrange(15)
    else:
        node.attribute.append(helper.make_attribute(rng.choice(["axis", "to", "auto_pad", "x"]), 2**40))


def _node(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = model.graph.node
    node = rng.choice(nodes)
    kind = rng.randrange(6)
    if kind == 0:
        nodes.remove(node)
    elif kind == 1:
        nodes.append(node)
    elif kind == 2:
        node.op_type = rng.choice(["Loop", "If", "Scan", "Tile", "Evil", "", "Cast", "Einsum", "NonZero", "Resize"])
    elif kind == 3:
        node.domain = rng.choice(["evil", "ai.onnx.ml", "com.microsoft", "\x1b[31m"])
    elif kind == 4 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", "nowhere", node.output[0]])
    else:
        node.name = rng.choice(["\x1b[31mX\n::error::hi", "x" * 5000, ""])


def _loop(model: onnx.ModelProto, rng: random.Random) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("c", 9, []),
            helper.make_tensor_value_info("v", 1, None),
        ],
        [helper.make_tensor_value_info("d", 9, []), helper.make_tensor_value_info("w", 1, None)],
    )
    count = rng.choice([None, 3, 2**62])
    model.graph.initializer.append(helper.make_tensor("always", 9, [], [rng.random() < 0.8]))
    if count is not None:
        model.graph.initializer.append(helper.make_tensor("rounds", 7, [], [count]))
    last = model.graph.node[-1]
    last.output[0], name = "before_loop", last.output[0]
    inputs = ["" if count is None else "rounds", "always", "before_loop"]
    model.graph.node.append(helper.make_node("Loop", inputs, [name], body=body))


def _bomb(model: onnx.ModelProto, rng: random.Random) -> None:
    size = rng.choice([2**20, 2**31, 2**40])
    model.graph.initializer.append(helper.make_tensor("size", 7, [2], [1, size]))
    last = model.graph.node[-1]
    last.output[0], name = "before_bomb", last.output[0]
    kind = rng.choice(["Tile", "Expand"])
    model.graph.node.extend(
        [
            helper.make_node(kind, ["before_bomb", "size"], ["big"]),
            helper.make_node("ReduceMax", ["big"], [name], keepdims=1),
        ]
    )


def _many(model: onnx.ModelProto, rng: random.Random) -> None:
    last = model.graph.node[-1]
    name = last.output[0]
    last.output[0] = "n0"
    count = rng.choice([100, 20_000])
    model.graph.node.extend(helper.make_node("Identity", [f"n{i}"], [f"n{i + 1}"]) for i in range(count))
    model.graph.node.append(helper.make_node("Identity", [f"n{count}"], [name]))


def _functions(model: onnx.ModelProto, rng: random.Random) -> None:
    depth = rng.choice([1, 30])
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]
    for level in range(depth):
        to = f"F{level + 1}" if level + 1 < depth else rng.choice(["F0", "Identity"])
        domain = "d" if to.startswith("F") else ""
        calls = [
            helper.make_node(to, ["a"], ["b"], domain=domain),
            helper.make_node(to, ["b"], ["c"], domain=domain),
        ]
        model.functions.append(helper.make_function("d", f"F{level}", ["a"], ["c"], calls, opset))
    model.opset_import.append(helper.make_opsetid("d", 1))
    last = model.graph.node[-1]
    last.output[0], name = "before_call", last.output[0]
    model.graph.node.append(helper.make_node("F0", ["before_call"], [name], domain="d"))


def _nested(model: onnx.ModelProto, rng: random.Random) -> None:
    graph = helper.make_graph([helper.make_node("Identity", ["always"], ["o"])], "g", [], [])
    for _ in range(rng.choice([3, 28])):
        graph = helper.make_graph(
            [helper.make_node("If", ["always"], ["o"], then_branch=graph, else_branch=graph)], "g", [], []
        )
        if graph.ByteSize() > 1 << 20:
            break
    model.graph.initializer.append(helper.make_tensor("always", 9, [], [True]))
    model.graph.node.append(helper.make_node("If", ["always"], ["unused"], then_branch=graph, else_branch=graph))


HARMS: list[Callable[[onnx.ModelProto, random.Random], None]] = [
    _dimension,
    _tensor,
    _attribute,
    _attribute,
    _node,
    _node,
    _loop,
    _bomb,
    _many,
    _functions,
    _nested,
]


def mutated_archive(folder: Path, out: Path, rng: random.Random) -> None:
    """Pack a bundle's folder with something wrong, into `.tar` or `.zip` by the name of `out`."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    names = sorted(files)
    kind = rng.randrange(8)
    if kind == 0:
        del files[rng.choice(names)]
    elif kind == 1:
        files[rng.choice(["../evil", "/tmp/evil", "a/../../evil", "more", "x" * 400, "a\\b", "c:evil"])] = b"evil"
    elif kind in (2, 3):
        name = rng.choice(names)
        files[name] = mutated_bytes(files[name], rng)
    elif kind in (4, 5):
        files["bundle.json"] = mutated_json(json.loads(files["bundle.json"]), rng)
    packed = io.BytesIO()
    if out.suffix == ".zip":
        method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
        with zipfile.ZipFile(packed, "w", method) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=packed, mode=rng.choice(["w", "w", "w", "w:gz", "w:xz"])) as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                if rng.random() < 0.02:
                    member.type, member.linkname = rng.choice([b"1", b"2", b"3", b"6", b"S"]), "/etc/passwd"
                    member.size = 0
                archive.addfile(member, io.BytesIO(content))
    content = packed.getvalue()
    out.write_bytes(mutated_bytes(content, rng) if kind >= 6 else content)
