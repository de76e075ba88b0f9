"""Two runs compared sample by sample, from files made by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.cli import main as cli
from edgeproof.pipeline.commands.compare import compare
from edgeproof.stages.statistics.paired import difference_interval, mcnemar

THREAT = {"norm": "Linf", "eps": 0.1}
DATASET = {"name": "digits", "digest": "d"}
ROWS = np.arange(100, 140)


def columns(fallen: Sequence[int], rows: np.ndarray = ROWS, misread: Sequence[int] = ()) -> dict[str, np.ndarray]:
    """Bits of a subject that misreads some data-set rows, and of the others loses some to the last attack only."""
    clean = ~np.isin(rows, misread)
    return {
        "index": rows,
        "label": rows % 10,
        "clean_correct": clean,
        "robust_8bit": clean,
        "whitebox": clean,
        "square": clean & ~np.isin(rows, fallen),
    }


def run_of(
    folder: Path,
    *,
    threat: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    kinds: dict[str, str] | None = None,
    **subjects: dict[str, np.ndarray],
) -> Path:
    """A run's folder, as far as a comparison reads it."""
    (folder / "verification").mkdir(parents=True)
    (folder / "adversarial").mkdir()
    for name, arrays in subjects.items():
        np.savez_compressed(folder / "verification" / f"{name}.npz", **arrays)
    entries = [
        {"name": name, "kind": (kinds or {}).get(name, "engine"), "clean_accuracy": 1.0, "robust_accuracy": 1.0}
        | (more or {})
        for name in subjects
    ]
    report = {
        "schema_version": 1,
        "threat_model": threat or THREAT,
        "subjects": entries,
        "environment": {"attacks": "pyautoattack 0.2.0"},
    }
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "adversarial" / "manifest.json").write_text(json.dumps({"dataset": dataset or DATASET}))
    return folder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return run_of(tmp_path / "first", engine=columns([105]), student=columns([]), kinds={"student": "torch"})


def test_common_samples_are_compared_by_the_last_column(first: Path, tmp_path: Path):
    rows = np.random.default_rng(0).permutation(np.arange(120, 150))
    second = run_of(tmp_path / "second", engine=columns([121, 122, 123, 149], rows))
    found = compare(first, second / "report.json")
    assert found["samples"] == 20, "rows 120 to 139"
    assert (found["lost"], found["gained"]) == ([121, 122, 123], [])
    assert (found["first"]["accuracy"], found["second"]["accuracy"]) == (1.0, 17 / 20)
    assert (found["first"]["samples"], found["second"]["samples"]) == (40, 30)
    assert found["first"]["routes"] == ["whitebox", "square"]
    assert found["first"]["attacks"] == "pyautoattack 0.2.0"
    assert found["difference"] == pytest.approx(-3 / 20)
    assert found["ci"] == list(difference_interval(3, 0, 20))
    assert found["p"] == mcnemar(3, 0)
    assert (found["threat_model"], found["notes"]) == (THREAT, [])


def test_a_run_whose_own_figure_is_in_doubt_is_not_compared_without_a_word(first: Path, tmp_path: Path):
    second = run_of(tmp_path / "second", engine=columns([]))
    report = json.loads((second / "report.json").read_text())
    doubts = ["engine: huge-eps: 40 % stand", "other: flat: all"]
    (second / "report.json").write_text(json.dumps({**report, "doubts": doubts, "verdict": "inconclusive"}))
    (note,) = compare(first, second)["notes"]
    assert note.endswith("engine.npz: its run was inconclusive (engine: huge-eps: 40 % stand)")


def test_clean_accuracy_is_the_other_figure(first: Path, tmp_path: Path):
    second = run_of(tmp_path / "second", engine=columns([], misread=[101, 139]))
    found = compare(first, second, figure="clean")
    assert (found["lost"], found["gained"]) == ([101, 139], [])
    robust = compare(first, second)
    assert (robust["lost"], robust["gained"]) == ([101, 139], [105])


@pytest.mark.parametrize(
    ("lost", "gained", "words"),
    [
        (0, 0, "A and B agree on each of the 40 samples."),
        (2, 1, "do not tell A and B apart"),
        (5, 0, "Borderline"),
        (9, 1, "B is less robust than A"),
        (0, 9, "B is more robust than A"),
    ],
)
def test_one_sentence_says_what_it_comes_to(lost: int, gained: int, words: str, tmp_path: Path):
    one = run_of(tmp_path / "one", engine=columns(ROWS[:gained].tolist()))
    other = run_of(tmp_path / "other", engine=columns(ROWS[gained : gained + lost].tolist()))
    found = compare(one, other)
    assert (len(found["lost"]), len(found["gained"])) == (lost, gained)
    assert words in found["sentence"]


def test_a_subject_is_chosen_by_name_or_by_file(first: Path, tmp_path: Path):
    second = run_of(tmp_path / "second", engine=columns([]), student=columns([107]), other=columns([106]))
    assert compare(first, second, subject="student")["lost"] == [107]
    assert compare(first, second / "verification" / "other.npz")["lost"] == [106]
    assert compare(first / "verification" / "student.npz", second, subject="other")["lost"] == [106]
    with pytest.raises(UsageError, match=r"report\.json: has several engines; name one with --subject: engine, stud"):
        compare(first, second)


def test_what_weakens_a_comparison_is_noted(first: Path, tmp_path: Path):
    alone = tmp_path / "alone.npz"
    arrays = columns([])
    np.savez(alone, **{key: value for key, value in arrays.items() if key != "whitebox"})
    unknown, routes = compare(first, alone)["notes"]
    assert f"{alone}: nothing beside it tells its threat model" in unknown
    assert "different routes: A whitebox square; B square" in routes
    early = run_of(tmp_path / "early", engine=arrays, more={"sequential": {"population": 40}})
    (note,) = compare(first, early)["notes"]
    assert "attacked until its gates were decided" in note
    other = run_of(tmp_path / "other", engine=arrays, dataset={"name": "digits", "digest": "e"})
    (note,) = compare(first, other)["notes"]
    assert "digests differ" in note


def refused(first: Path, folder: Path, kind: str) -> Path:
    """Something that does not compare with the first run."""
    bits = columns([])
    made: dict[str, dict[str, Any]] = {
        "other rows": {"engine": columns([], ROWS + 500)},
        "other labels": {"engine": bits | {"label": (bits["label"] + (ROWS < 103)) % 10}},
        "other threat": {"engine": bits, "threat": {"norm": "Linf", "eps": 0.2}},
        "other data set": {"engine": bits, "dataset": {"name": "mnist", "digest": "d"}},
        "no attack": {"engine": {key: bits[key] for key in ("index", "label", "clean_correct")}},
        "a row twice": {"engine": columns([], np.append(ROWS, ROWS[0]))},
        "lengths": {"engine": bits | {"label": bits["label"][:5]}},
        "numbers": {"engine": bits | {"square": bits["square"].astype(float)}},
        "a pack": {"engine": {key: bits[key] for key in ("index", "label")}},
        "no engine": {"engine": bits, "kinds": {"engine": "torch"}},
    }
    run = run_of(folder, **made.get(kind, {"engine": bits}))
    file = run / "verification" / "engine.npz"
    if kind == "no bits":
        file.unlink()
    elif kind == "text":
        file.write_text("no archive")
    elif kind == "one array":
        with file.open("wb") as stream:
            np.save(stream, ROWS)
    elif kind == "truncated":
        file.write_bytes(file.read_bytes()[:-30])
    elif kind == "manifest":
        (run / "adversarial" / "manifest.json").write_text('{"dataset": "digits"}')
    elif kind == "report":
        (run / "report.json").write_text("{}")
    elif kind == "no report":
        (run / "report.json").unlink()
    return run


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("other rows", r"engine\.npz: none of its 40 data-set rows is among the 40 of .*first.*same samples"),
        ("other labels", r"engine\.npz: 3 of 40 common rows have other labels than in .*first"),
        ("other threat", r"engine\.npz: its threat model is Linf eps 0\.2, that of .*first.* Linf eps 0\.1"),
        ("other data set", r"engine\.npz: its data set is 'mnist', that of .*first.* 'digits'"),
        ("no attack", r"engine\.npz: holds no attack's bits; --figure clean"),
        ("a row twice", r"engine\.npz: no per-sample bits"),
        ("lengths", r"engine\.npz: no per-sample bits"),
        ("numbers", r"engine\.npz: no per-sample bits"),
        ("a pack", r"engine\.npz: no per-sample bits"),
        ("no engine", r"report\.json: has no engine; name one with --subject: engine"),
        ("no bits", r"engine\.npz: no such file"),
        ("text", r"engine\.npz: no per-sample bits"),
        ("one array", r"engine\.npz: no per-sample bits"),
        ("truncated", r"engine\.npz: no per-sample bits"),
        ("manifest", r"manifest\.json: no manifest of packs"),
        ("report", r"report\.json: not a report"),
        ("no report", r"report\.json: no such report"),
    ],
)
def test_what_does_not_compare(kind: str, words: str, first: Path, tmp_path: Path):
    second = refused(first, tmp_path / "second", kind)
    with pytest.raises(UsageError, match=words) as caught:
        compare(first, second)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"figure": "robustness"}, "--figure: unknown figure 'robustness'; robust or clean"),
        ({"subject": "engin"}, r"--subject: .*report\.json has no subject 'engin'; did you mean 'engine'\?"),
    ],
)
def test_options_that_are_wrong(options: dict[str, str], words: str, first: Path):
    with pytest.raises(UsageError, match=words):
        compare(first, first, **options)


def test_a_subject_of_two_files_is_refused(first: Path):
    bits = first / "verification" / "engine.npz"
    with pytest.raises(UsageError, match="--subject: picks from a run"):
        compare(bits, bits, subject="engine")


def test_the_command_is_no_gate(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    second = run_of(tmp_path / "second", engine=columns(ROWS.tolist()))

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["edgeproof", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return (int(done.value.code or 0), *capsys.readouterr())

    code, out, _ = command(first, second, "--json")
    assert (code, json.loads(out)) == (0, compare(first, second))
    code, out, _ = command(first, second)
    assert code == 0
    for words in (
        "robust accuracy on 40 common samples, Linf eps 0.1:",
        "A  0.975 [0.868, 0.999]",
        "lost 39 (data-set rows 100, 101, 102, 103, 104, 106, 107, 108, 109, 110, …)",
        "gained 0\n",
        "(exact McNemar)",
    ):
        assert words in out, out
    assert out.endswith("B is less robust than A, by more than chance explains.\n")
    code, out, err = command(first, tmp_path / "nowhere.npz")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "nowhere.npz: no such file" in err
