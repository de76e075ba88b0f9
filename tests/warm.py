"""Processes of their own that need not import torch: forked from one that has. For POSIX."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

# One thread, so that forking is safe.
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SERVER = """
import atexit, gc, json, os, pkgutil, runpy, sys, threading, traceback
from importlib import import_module
from importlib.util import find_spec
import lightning_fabric, matplotlib.figure, onnx, onnxscript, pyautoattack, pydantic, scipy.stats, sklearn.datasets
import torch, torchvision
# What a training and an export import when they come to it.
import networkx, onnxscript.function_libs.torch_lib.ops, torch._functorch._aot_autograd.graph_compile
import torch.onnx._internal.exporter._core, torch.utils.tensorboard
for room in ("core", "targets", "stages", "pipeline"):
    package = import_module(f"edgeproof.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        import_module(module.name)
# Not ONNX Runtime: it starts a thread, and what is forked beside a thread may never end.
assert len(os.listdir("/proc/self/task")) == 1
from edgeproof.core.registry import Registry
from edgeproof.pipeline.cli.main import main
registries = [each for each in gc.get_objects() if isinstance(each, Registry)]
ours = find_spec("edgeproof.__main__")
# What is here is no garbage of the forks': looking at it would copy it.
gc.collect()
gc.freeze()
print("ready", flush=True)

def become(asked):
    for number, name in enumerate((os.devnull, asked["out"], asked["err"])):
        opened = os.open(name, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(os.devnull)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    for registry in registries:  # whose plug-ins are those of this environment
        registry._loaded = False
    if asked["script"] is not None:
        sys.argv = [asked["script"], *asked["arguments"]]
        sys.path.insert(0, os.path.dirname(asked["script"]))
        runpy.run_path(asked["script"], run_name="__main__")
        return
    # As of `python -m edgeproof`, which Lightning starts again for each further process.
    sys.modules["__main__"].__spec__ = ours
    sys.path.insert(0, asked["cwd"])
    sys.argv = [ours.origin, *asked["arguments"]]
    main()

for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        process, status = os.waitpid(asked["wait"], 0 if asked["block"] else os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if process else None), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    code = 0
    try:
        become(asked)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # As Python leaves, but for the taking apart of every module: of a fork's, that copies most of the memory (1.5 s).
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
"""


@cache
def _server() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | _ALONE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _asked(**request: Any) -> Any:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


class Process:
    """The command line, or a Python script, in a process of its own; as of `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        script: Path | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._out = tempfile.NamedTemporaryFile("r")  # noqa: SIM115
        self._err = tempfile.NamedTemporaryFile("r")  # noqa: SIM115
        self.pid: int = _asked(
            arguments=[*arguments],
            cwd=str(cwd or Path.cwd()),
            env={**(os.environ if env is None else env), **_ALONE},
            script=None if script is None else str(script),
            out=self._out.name,
            err=self._err.name,
        )

    def poll(self) -> int | None:
        """The exit code, if it has ended; a negative one is the signal that ended it."""
        if self.returncode is None:
            self.returncode = _asked(wait=self.pid, block=False)
        return self.returncode

    def wait(self) -> int:
        """The exit code, once it has ended."""
        if self.returncode is None:
            self.returncode = _asked(wait=self.pid, block=True)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> int:
        """End it by SIGKILL, wherever it stands."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def said(self) -> tuple[str, str]:
        """Its stdout and stderr; once."""
        with self._out, self._err:
            return self._out.read(), self._err.read()


def run(
    arguments: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None, script: Path | None = None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; a negative code is the signal that ended it."""
    process = Process(arguments, cwd, env, script)
    return process.wait(), *process.said()


def until(what: Callable[[], object], seconds: float) -> bool:
    """Whether something holds before so many seconds are over."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def in_session(leader: int) -> list[int]:
    """Processes of a session that still run."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(entry.name))
    return found
