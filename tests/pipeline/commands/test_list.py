"""`edgeproof list`: every kind of plug-in, one line an entry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.cli import main as cli
from edgeproof.pipeline.commands.list import KINDS, list_entries, registry_of

# A few of each, so that an empty registry is noticed.
KNOWN = {
    "methods": {"adaad", "trades"},
    "plugins": {"igdm"},
    "augmentations": {"flip"},
    "models": {"resnet18", "wrn_<depth>_<width>"},
    "datasets": {"digits", "npz"},
    "precisions": {"int8", "fp16"},
    "targets": {"onnxruntime", "torch_tensorrt"},
    "norms": {"Linf", "L2"},
    "routes": {"replay", "square"},
    "checks": {"huge-eps"},
    "figures": {"retention", "clean_accuracy"},
    "reports": {"report.json", "junit.xml"},
}


def there(kind: str) -> None:
    """Skip a kind whose registry does not stand yet."""
    module = Path(__file__).parents[3] / f"{KINDS[kind].registry.partition(':')[0].replace('.', '/')}.py"
    if not module.is_file():
        pytest.skip(f"no {module.name} of {kind} yet")


def answered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["edgeproof", "list", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    out, err = capsys.readouterr()
    assert (done.value.code or 0, err) == (0, "")
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_of_a_kind_says_what_it_is(kind: str):
    there(kind)
    found = list_entries(kind)
    assert {entry["name"] for entry in found} >= KNOWN[kind]
    for entry in found:
        assert entry["summary"].endswith((".", ",", ":", "?")) or len(entry["summary"]) > 20, entry
        assert (entry["origin"], entry["problem"]) == (None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_third_parties_add_to_a_kind_through_the_group_of_its_name(kind: str):
    there(kind)
    assert registry_of(kind).group == f"edgeproof.{kind}"


def test_it_is_printed_a_line_each_or_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    lines = answered(capsys, monkeypatch, "targets").splitlines()
    found = json.loads(answered(capsys, monkeypatch, "targets", "--json"))
    assert [line.split()[0] for line in lines] == [entry["name"] for entry in found]
    assert all(line.endswith(entry["summary"]) for line, entry in zip(lines, found, strict=True))
    kinds = answered(capsys, monkeypatch).splitlines()
    assert [line.split()[0] for line in kinds] == list(KINDS)
    assert {entry["entry_points"] for entry in json.loads(answered(capsys, monkeypatch, "--json"))} == {
        f"edgeproof.{kind}" for kind in KINDS
    }


def test_an_unknown_kind_is_one_line():
    with pytest.raises(UsageError, match=r"^unknown kind 'target'; did you mean 'targets'\? \(known: methods, "):
        list_entries("target")


def test_targets_and_kinds_are_listed_without_torch():
    code = (
        "import sys\n"
        "from edgeproof.pipeline.commands.list import list_entries, list_kinds\n"
        "assert list_kinds() and list_entries('targets')\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
