"""Runs the blocks of one page as a reader would, only smaller."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from edgeproof.pipeline.cli import main as cli

from tests import warm
from tests.e2e.docs_blocks import COMMANDS, Block

# What makes a command small. Each stands behind the page's own options; what a page sets itself stays, but for sizes.
SMALL_CURVE = "verify.curve={radii: [0.5, 1.5]}"
SMALL_RECIPE = (
    "teacher.train.epochs=1",
    "distill.epochs=1",
    "distill.inner={steps: 2}",
    "distill.selection_steps=2",
    "teacher.train.inner={steps: 2}",
    "teacher.train.selection_steps=2",
    "verify.samples=8",
    "verify.square_queries=20",
    "verify.attacks=[apgd-ce, square]",
    "verify.backward=[relu]",
    "verify.isolate=false",
    SMALL_CURVE,
    "bench.repeats=10",
    "bench.batches=[1]",
)
SMALL_VERIFY = (
    "verify.square_queries=20",
    "verify.backward=[relu]",
    "verify.strong_restarts=1",
    "verify.isolate=false",
)


def _sets(overrides: tuple[str, ...]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


SETS = _sets(SMALL_RECIPE)
SMALLER = {
    "build": [*SETS, "--workers", "1"],
    **dict.fromkeys(("teacher", "distill", "prune", "export", "quantize", "compile"), SETS),
    "recover": ["--set", "recover.epochs=1", "--set", "recover.inner.steps=2", "--set", "recover.selection_steps=2"],
    "verify": ["--samples", "4", "--workers", "1", *_sets(SMALL_VERIFY)],
    "bench": ["--repeats", "10", "--batch", "1"],
    "teachers": ["--samples", "40", "--steps", "2"],
}
# On so few samples a verdict may be any; a wrong command line is 2, and a stage that fails 3.
VERDICTS = {"build", "verify", "gate", "report", "replay", "lint", "device"}


@dataclass
class Page:
    """One page in a folder of its own.

    Attributes:
        folder: where its commands run.
        names: what its Python blocks have defined so far.
        apart: a package is made on this page, so every command is a process of its own.
    """

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    apart: bool = False

    def run(self, block: Block) -> None:
        """Run a block, or write the file that it is."""
        if block.title:
            self._write(block)
        elif block.language == "python":
            with self._here():
                exec(compile(block.text, block.where, "exec"), self.names)
        elif block.language in COMMANDS:
            for line in block.commands():
                self._command(line, block.where)

    def edgeproof(self, *arguments: str) -> str:
        """What a command that succeeds prints, where the page's package is installed."""
        done = self._apart([*arguments])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _write(self, block: Block) -> None:
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        if block.title == "pyproject.toml":
            self._install(tomllib.loads(block.text))

    def _install(self, project: Any) -> None:
        """Leave what pip leaves of an editable package: its metadata, on the path."""
        about = project["project"]
        folder = self.folder / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
        groups = about["entry-points"].items()
        texts = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in each.items()) for group, each in groups
        ]
        (folder / "entry_points.txt").write_text("\n".join(texts))
        self.apart = True

    def _command(self, line: str, where: str) -> None:
        words = shlex.split(line)
        if words[0] != "edgeproof":
            self._finished(line, where, self.typed(line), 0)
            return
        name, arguments = words[1], words[2:]
        # The small recipe lies where init's goes, and comes back.
        more = ["--force"] if name == "init" else []
        # The prepared recipe is small already, and its run finished, as long as nothing else is asked of it.
        if "recipe.yaml" not in arguments or "--set" in arguments:
            more += SMALLER.get(name, [])
            if name == "verify" and "--no-curve" not in arguments:
                more += _sets((SMALL_CURVE,))
        self._finished(line, where, self.typed(line, *more), *((0, 1, 4) if name in VERDICTS else (0,)))

    def typed(self, line: str, *more: str) -> subprocess.CompletedProcess[str]:
        """What a command line does; `more` are further arguments of one of ours."""
        words = shlex.split(line)
        if words[0] != "edgeproof":
            return self._process(["bash", "-c", line])
        return (self._apart if self.apart else self._in_process)([*words[1:], *more])

    def _finished(self, line: str, where: str, done: subprocess.CompletedProcess[str], *codes: int) -> None:
        assert done.returncode in codes, f"{where}: {line}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{where}: {line}\n{done.stderr}"
        # A missing runtime is 4 as well, and says nothing on stdout.
        assert done.stdout or done.returncode == 0, f"{where}: {line}\nexit {done.returncode}\n{done.stderr}"

    def _process(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self._env(), check=False, timeout=300
        )

    def _apart(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """The command line in a process of its own, which has not looked for packages before."""
        code, out, err = warm.run(arguments, self.folder, self._env())
        return subprocess.CompletedProcess(arguments, code, out, err)

    def _env(self) -> dict[str, str]:
        path = [str(self.folder), os.environ.get("PYTHONPATH", "")]
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def _in_process(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """The command line without a new interpreter, whose imports take longer than most of these commands."""
        out, err = io.StringIO(), io.StringIO()
        kept = (self.folder / "recipe.yaml").read_text()
        with self._here(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = exit_code(arguments)
        (self.folder / "recipe.yaml").write_text(kept)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    @contextlib.contextmanager
    def _here(self) -> Iterator[None]:
        """The page's folder as working directory, its modules importable as the command line has them."""
        with pytest.MonkeyPatch.context() as patch, contextlib.chdir(self.folder):
            patch.syspath_prepend(self.folder)
            before = set(sys.modules)
            yield
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(self.folder)):
                    del sys.modules[name]


def exit_code(arguments: list[str]) -> int:
    """The exit code of the command line in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgeproof", *arguments])
        try:
            cli.main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
