"""Which code a key depends on: all of what makes the artifact, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from edgeproof.pipeline.store.code_digest import code_digest, sources
from edgeproof.pipeline.store.import_cache import ImportCache
from edgeproof.stages.verify.checks.base import modules as check_modules

ROOT = Path(__file__).parents[3]


def test_lint_is_no_part_of_an_attack():
    """A changed lint rule attacks nothing again."""
    names = {*sources("edgeproof.stages.verify.attack", "edgeproof.stages.verify.aggregate", *check_modules())}
    assert "edgeproof.stages.twin.graph" in names
    assert not [name for name in names if name.startswith(("edgeproof.stages.lint", "edgeproof.pipeline"))]


def test_a_module_that_is_not_there_is_an_error():
    """Its code would count for nothing, which nobody notices."""
    with pytest.raises(ValueError, match="no module"):
        code_digest("edgeproof.stages.no_such_stage")


def test_every_module_that_a_stage_names_is_there():
    named = {
        f"edgeproof.stages{name}"
        for path in (ROOT / "pipeline").rglob("*.py")
        for name in re.findall(r'(?:\{STAGES\}|"edgeproof\.stages)((?:\.\w+)+)"', path.read_text())
    }
    assert len(named) > 8
    for name in named:
        if not name.endswith(("stages.models", "stages.data.sets")):
            assert code_digest(name)


def test_looking_imports_nothing():
    code = (
        "import sys; from edgeproof.pipeline.store.code_digest import code_digest, all_sources_digest\n"
        "code_digest('edgeproof.stages.verify.attack', 'edgeproof.pipeline.reports.html.page'); all_sources_digest()\n"
        "print([name for name in sys.modules if name.startswith(('edgeproof.stages', 'torch', 'matplotlib'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_remembered_imports_are_of_the_content(tmp_path: Path):
    read: list[bytes] = []

    def imports(content: bytes, package: str) -> list[str]:
        read.append(content)
        return [
            f"{package}.{node.names[0].name}" for node in ast.walk(ast.parse(content)) if isinstance(node, ast.Import)
        ]

    path = tmp_path / "below" / "imports.json"
    for content, expected in ((b"import a", ["p.a"]), (b"import a", ["p.a"]), (b"import b", ["p.b"])):
        with ImportCache(path) as cache:
            assert cache.imports(content, "p", imports) == expected
    assert read == [b"import a", b"import b"]
    with ImportCache(path) as cache:
        assert cache.imports(b"import a", "q", imports) == ["q.a"], "relative imports start from elsewhere"


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', '{"x": [1]}', "\udcff"])
def test_a_broken_cache_is_an_empty_one(tmp_path: Path, content: str):
    path = tmp_path / "imports.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with ImportCache(path) as cache:
        assert cache.imports(b"x", "p", lambda *_: ["p.x"]) == ["p.x"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with ImportCache(tmp_path / "file" / "imports.json") as cache:
        assert cache.imports(b"x", "p", lambda *_: ["p.x"]) == ["p.x"]
