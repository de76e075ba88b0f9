"""Verdicts on ONNX files of foreign exporters and quantizers, held against an independent attack on ONNX Runtime.

    python benchmarks/foreign.py                    # everything: some 15 GB of environments, an hour on two cores
    python benchmarks/foreign.py --only torch_script/lstm paddle_models
    python benchmarks/foreign.py --list

What is made and verified stands in `foreign_producers/kinds.yaml`. Every producer has an environment of its own and
trains small networks on the digits in it; `edgeproof verify` judges each file, and samples that it calls robust are
attacked by PGD with gradients from central differences on ONNX Runtime (`foreign_pgd.py`). Under `build/foreign` all
that is finished is kept: environments, files, proofs and results.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import pkgutil
import shlex
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

# Before numpy and torch are loaded: one thread, so that forking is safe.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import yaml
from edgeproof.stages.data import DataConfig, load_dataset
from sklearn.datasets import load_digits

PRODUCERS = Path(__file__).parent / "foreign_producers"
EPS = 0.1
#: How strong the channels of the coloured images are.
TINT = np.array([1.0, 0.7, 0.4], np.float32)
NOISY_COPIES = 3
#: Below this nobody computes what the producer meant.
COMPUTED = 0.5


@dataclass(frozen=True)
class File:
    """A file to make and verify.

    Attributes:
        producer: the script that makes it, and its own name in it.
        by: the package that writes it.
        kind: what is special about it.
        options: what edgeproof is told of it.
        wants: the same for the independent attack.
        apart: why it needs no verdict with gradients; empty where it does.
    """

    producer: str
    own: str
    by: str
    kind: str
    options: str
    wants: Mapping[str, Any]
    apart: str

    @property
    def name(self) -> str:
        """Producer and file."""
        return f"{self.producer}/{self.own}"


def listed() -> tuple[dict[str, Any], list[File]]:
    """Environments, and files in the order in which they are made."""
    table = yaml.safe_load((PRODUCERS / "kinds.yaml").read_text())
    files = [
        File(
            producer,
            own,
            str(each.get("by", about.get("by"))),
            each["kind"],
            each.get("options", ""),
            each.get("wants", {}),
            each.get("apart", ""),
        )
        for producer, about in table["producers"].items()
        for own, each in about["files"].items()
    ]
    return {name: table["environments"][name] | {"name": name} for name in table["environments"]} | {
        producer: about["environment"] for producer, about in table["producers"].items()
    }, files


def one_of_each_first(files: list[File]) -> list[File]:
    """The files, the first of every kind of a package before the second: whatever a run gets through is mixed."""
    seen: Counter[tuple[str, str]] = Counter()
    ranks: dict[str, int] = {}
    for file in files:
        ranks[file.name] = seen[file.by, file.kind]
        seen[file.by, file.kind] += 1
    return sorted(files, key=lambda file: ranks[file.name])


class Workshop:
    """The folder of everything: environments, images, files, proofs, results."""

    def __init__(self, root: Path, environments: dict[str, Any]) -> None:
        self.root = root.resolve()
        self._environments = environments

    def file(self, file: File) -> Path:
        """Where a file lies."""
        return self.root / "files" / file.producer / (file.own if file.own.endswith(".ort") else f"{file.own}.onnx")

    def result(self, file: File) -> Path:
        """Where what was found of a file lies."""
        return self.root / "results" / f"{file.name}.json"

    def images(self) -> None:
        """Training images with noisy copies, and coloured test images."""
        data = load_dataset(DataConfig(dataset="digits"))
        draw = np.random.default_rng(0)
        noisy = [data.train.images + draw.uniform(-EPS, EPS, data.train.images.shape) for _ in range(NOISY_COPIES)]
        images = np.clip(np.concatenate([data.train.images, *noisy]), 0, 1).astype(np.float32)
        self.root.mkdir(parents=True, exist_ok=True)
        np.savez(self.root / "train.npz", images=images, labels=np.tile(data.train.labels, NOISY_COPIES + 1))
        np.savez(
            self.root / "colour.npz",
            images=data.test.images * TINT[None, :, None, None],
            labels=data.test.labels,
        )

    def python(self, name: str) -> Path:
        """The interpreter of an environment, made where it is not there.

        Raises:
            subprocess.CalledProcessError: it cannot be installed.
        """
        about = self._environments[name]
        folder = self.root / "envs" / name
        python = folder / "bin" / "python"
        if (folder / "finished").exists():
            return python
        beneath = self.python(about["on"]) if "on" in about else None
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        if beneath is not None:
            where = "import sysconfig; print(sysconfig.get_path('purelib'))"
            theirs, ours = (
                subprocess.run([p, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
                for p in (beneath, python)
            )
            (Path(ours) / "beneath.pth").write_text(f"{theirs}\n")
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *about["packages"]]
        with (folder / "pip.log").open("w") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
        (folder / "finished").touch()
        return python

    def make(self, producer: str, files: list[File]) -> None:
        """Let a producer write what is not there, with the versions of its packages beside it."""
        missing = [file.own for file in files if not self.file(file).exists()]
        if not missing:
            return
        started = time.monotonic()
        folder = self.root / "files" / producer
        folder.mkdir(parents=True, exist_ok=True)
        try:
            python = self.python(self._environments[producer])
            packages = sorted({file.by.partition(" (")[0] for file in files})
            said = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]), sep='\\n')"
            found = subprocess.run([python, "-c", said, *packages], check=True, capture_output=True, text=True)
            versions = self.versions(producer) | dict(zip(packages, found.stdout.split(), strict=True))
            (folder / "versions.json").write_text(json.dumps(versions))
            with (folder / "log").open("w") as log:
                command = [python, PRODUCERS / f"{producer}.py", self.root / "train.npz", folder, *missing]
                subprocess.run(command, stdout=log, stderr=log, timeout=1800, check=False, cwd=folder)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"{producer}: {error}", flush=True)
        made = sum(self.file(file).exists() for file in files)
        print(f"{producer}: {made} of {len(files)} files after {time.monotonic() - started:.0f} s", flush=True)

    def versions(self, producer: str) -> dict[str, str]:
        """Of the packages of a producer that has run."""
        path = self.root / "files" / producer / "versions.json"
        return json.loads(path.read_text()) if path.exists() else {}


def warm() -> None:
    """Import what the command needs, so that it can be forked; not ONNX Runtime, which starts threads."""
    for room in ("core", "targets", "stages", "pipeline"):
        package = import_module(f"edgeproof.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)


def forked(work: Callable[[], Any], log: Path) -> int:
    """Run something in a process of its own, its words in a file, and return its exit code."""

    def run() -> None:
        sink = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.environ["COLUMNS"] = "400"
        try:
            work()
        except Exception:
            traceback.print_exc()
            sys.exit(1)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(900)
    if process.exitcode is None:
        process.kill()
        process.join()
    return int(process.exitcode or 0)


def verify(shop: Workshop, file: File, out: Path, samples: int) -> int:
    """The command, on one file; its exit code."""
    from edgeproof.pipeline.cli.main import main

    data = shop.root / "colour.npz" if file.wants.get("colour") else "digits"
    arguments = ["verify", shop.file(file), "--dataset", data, "--eps", EPS, "--samples", samples, "--out", out]
    # Small networks answer sooner in the process itself, and the black box is the smaller part here.
    arguments += ["--no-curve", "--workers", 1, "--set", "verify.isolate=false", "--set", "verify.square_queries=1000"]
    arguments += shlex.split(file.options)

    def command() -> None:
        os.chdir(shop.root / "files")
        sys.argv = ["edgeproof", *map(str, arguments)]
        main()

    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    return forked(command, out.with_suffix(".log"))


def attack(shop: Workshop, file: File, out: Path, found: Path) -> None:
    """Judge a file by ONNX Runtime alone, on the samples of its proof or else on the whole test split."""
    from foreign_pgd import Runtime, fallen, wrong

    digits = load_digits()
    images, labels = (digits.images.reshape(-1, 1, 8, 8) / 16).astype(np.float32), digits.target
    if file.wants.get("colour"):
        with np.load(shop.root / "colour.npz") as arrays:
            images, labels = arrays["images"], arrays["labels"]
    bits = next((out / "verification").glob("*runtime.npz"), None)
    index, robust = np.arange(len(images))[::20], np.zeros(0, bool)
    if bits is not None:
        with np.load(bits) as arrays:
            index = arrays["index"]
            kept = [arrays[key] for key in arrays if arrays[key].dtype == bool and key != "robust_8bit"]
        robust = np.logical_and.reduce(kept)
    model = Runtime(shop.file(file), file.wants)
    clean = 1 - wrong(model, images[index], labels[index]).mean()
    rows = index[robust] if len(robust) else index[:0]
    broken = int(fallen(model, images[rows], labels[rows], EPS).sum()) if len(rows) else 0
    found.write_text(json.dumps({"ort_clean": float(clean), "called_robust": len(rows), "fallen": broken}))


def judged(shop: Workshop, file: File, samples: int) -> dict[str, Any]:
    """Everything about one file."""
    path = shop.file(file)
    if not path.exists():
        failed = path.parent / f"{file.own}.failed"
        last = failed.read_text().strip().splitlines()[-1] if failed.exists() else "its environment or script failed"
        return {"outcome": "not made", "why": last}
    result = shop.result(file)
    result.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if result.exists() and (kept := json.loads(result.read_text()))["digest"] == digest:
        return kept
    out = shop.root / "proofs" / file.name
    started = time.monotonic()
    code = verify(shop, file, out, samples)
    seconds = time.monotonic() - started
    own = result.with_suffix(".own")
    own.unlink(missing_ok=True)
    forked(lambda: attack(shop, file, out, own), result.with_suffix(".log"))
    about: dict[str, Any] = {"digest": digest, "exit": code, "seconds": round(seconds, 1)}
    about |= json.loads(own.read_text()) if own.exists() else {"ort_clean": None}
    report = out / "report.json"
    if code in (0, 4) and report.exists():
        said = json.loads(report.read_text())
        subject = said["subjects"][-1]
        about |= {"verdict": said["verdict"], "clean": subject["clean_accuracy"], "robust": subject["robust_accuracy"]}
        about |= {"gradients": subject["routes"].get("whitebox") is not None, "why": "; ".join(said["reasons"])}
        about |= {"adapter": subject.get("adapter", [])}
    else:
        words = out.with_suffix(".log").read_text().strip().splitlines()
        about |= {"verdict": "refused" if code == 2 else "failed", "why": words[-1] if words else ""}
    about["outcome"] = outcome(file, about)
    result.write_text(json.dumps(about))
    return about


def outcome(file: File, about: Mapping[str, Any]) -> str:
    """What a file counts as."""
    if about["ort_clean"] is None or about["ort_clean"] < COMPUTED:
        return "not computed"
    if about["verdict"] == "pass" and about["gradients"]:
        return "conclusive"
    if file.apart and about["verdict"] == "inconclusive":
        return "black box"
    return about["verdict"]


def shown(file: File, about: Mapping[str, Any]) -> Iterator[str]:
    """A line about a file, and another one where something is to be said."""

    def number(key):
        return "–" if about.get(key) is None else f"{about[key]:.3f}"

    yield (
        f"{file.name:38} {file.kind:38} {about['outcome']:12} exit {about.get('exit', '–')}  clean {number('clean')} "
        f"(ORT {number('ort_clean')})  robust {number('robust')}  PGD broke {about.get('fallen', '–')} of "
        f"{about.get('called_robust', '–')}  {about.get('seconds', '–')} s"
    )
    if about.get("why"):
        yield f"    {about['why']}"


def summary(shop: Workshop, results: list[tuple[File, dict[str, Any]]], listed: int, samples: int) -> Iterator[str]:
    """A row a producer, and what all of them come to."""
    heads = (
        "producer",
        "files",
        "conclusive",
        "refused or open",
        "black box",
        "not computed",
        "called robust",
        "broken",
    )
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    apart = ("black box", "not computed")
    total: Counter[str] = Counter()
    for by in dict.fromkeys(file.by for file, _ in results):
        mine = [(file, about) for file, about in results if file.by == by and about["outcome"] != "not made"]
        if not mine:
            continue
        counts = Counter(about["outcome"] for _, about in mine)
        numbers = Counter(
            files=len(mine),
            conclusive=counts["conclusive"],
            otherwise=sum(n for name, n in counts.items() if name not in ("conclusive", *apart)),
            black=counts["black box"],
            uncomputed=counts["not computed"],
            called=sum(about.get("called_robust") or 0 for _, about in mine),
            broken=sum(about.get("fallen") or 0 for _, about in mine),
        )
        total.update({**numbers, "producers": 1})
        version = shop.versions(mine[0][0].producer).get(by.partition(" (")[0], "")
        yield f"| {by} {version} | {' | '.join(str(numbers[key]) for key in NUMBERS)} |"
    yield f"| **all** | {' | '.join(str(total[key]) for key in NUMBERS)} |"
    kinds = len({file.kind for file, about in results if about["outcome"] != "not made"})
    asked = total["conclusive"] + total["otherwise"]
    yield ""
    yield (
        f"{total['files']} of {listed} files, of {total['producers']} producers and {kinds} kinds, {samples} test "
        f"images each, Linf {EPS}: {total['conclusive']} of {asked} ({total['conclusive'] / max(asked, 1):.1%}) "
        f"conclusive with gradients; {total['broken']} of {total['called']} samples called robust fell."
    )


NUMBERS = ("files", "conclusive", "otherwise", "black", "uncomputed", "called", "broken")


def main() -> None:
    """Make, verify, attack, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="producers, or producer/file")
    parser.add_argument("--list", action="store_true", help="print what there is to make, and stop")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--root", type=Path, default=Path("build/foreign"))
    parser.add_argument("--summary", action="store_true", help="print what has been found so far, and stop")
    parser.add_argument("--again", action="store_true", help="verify again what has a result")
    parser.add_argument("--remove-environments", action="store_true", help="at the end")
    given = parser.parse_args()
    environments, files = listed()
    files = [file for file in files if not given.only or {file.name, file.producer} & {*given.only}]
    if given.list:
        for file in files:
            print(f"{file.name:38} {file.by:24} {file.kind:38} {file.options} {file.apart}".rstrip())
        return
    shop = Workshop(given.root, environments)
    if given.summary:
        done = [(file, json.loads(shop.result(file).read_text())) for file in files if shop.result(file).exists()]
        print("\n".join([line for each in done for line in shown(*each)]))
        print("\n".join(["", *summary(shop, done, len(files), given.samples)]))
        return
    shop.images()
    warm()
    results = []
    for file in one_of_each_first(files):
        if file.producer not in {other.producer for other, _ in results}:
            shop.make(file.producer, [other for other in files if other.producer == file.producer])
        if given.again:
            shop.result(file).unlink(missing_ok=True)
        results.append((file, judged(shop, file, given.samples)))
        print("\n".join(shown(*results[-1])), flush=True)
    if given.remove_environments:
        shutil.rmtree(shop.root / "envs", ignore_errors=True)
    print("\n".join(["", *summary(shop, results, len(files), given.samples)]))


if __name__ == "__main__":
    main()
