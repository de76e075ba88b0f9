"""Commands in processes of their own that need not import torch: forked from one that has. For POSIX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

# One thread, so that forking is safe.
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SERVER = """
import json, os, sys, traceback
import onnx, onnxscript, pyautoattack, pydantic, scipy.stats, sklearn.datasets, torch, torchvision
# Not ONNX Runtime: it starts a thread, and what is forked beside a thread may never end.
assert len(os.listdir("/proc/self/task")) == 1
from importlib.util import find_spec
from edgeproof.pipeline.cli.main import main
# As of `python -m edgeproof`, which Lightning starts again for each further process.
sys.modules["__main__"].__spec__ = find_spec("edgeproof.__main__")
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for number, name in enumerate((os.devnull, asked["out"], asked["err"])):
        opened = os.open(name, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(os.devnull)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path.insert(0, asked["cwd"])
    sys.argv = [sys.modules["__main__"].__spec__.origin, *asked["arguments"]]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.exit(code)
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


def run(arguments: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; a negative code is the signal that ended it."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        asked = {"arguments": [*arguments], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        server.stdin.write(json.dumps(asked | {"out": out.name, "err": err.name}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return code, out.read(), err.read()
