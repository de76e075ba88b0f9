"""Recipes: every mistake is one line with the key's path, the value, and what is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.commands.build import build
from edgeproof.pipeline.commands.init import RECIPE, write_recipe
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.pipeline.recipe.recipe import dump, parse_recipe, schema

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "examples" / "digits.yaml"


def parsed(*overrides: str):
    return parse_recipe(read_recipe(DIGITS, overrides), "digits.yaml")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("distill.epochz=3", "distill.epochz: unknown key; did you mean 'epochs'? (known: method, options"),
        ("adapter.normalize=imagnet", "adapter.normalize: must be 'imagenet', 'half' or 'none', got 'imagnet'"),
        ("adapter.label_map=/nope.txt", "adapter.label_map: /nope.txt: no such file"),
        ("surrogate_adapter={normalize: half, mean: [0]}", "surrogate_adapter.normalize: says the mean and the std"),
        ("data=[1]", "data: must be a section of keys (dataset, seed, root, ...), got [1]"),
        ("threat=0.1", "threat: must be a section of keys (norm, eps), got 0.1"),
        ("foo=1", "foo: unknown key (known: schema_version, name, data"),
        ("threat.eps=8", "threat.eps: must be in (0, 1] for Linf, got 8; pixels are in [0, 1]: did you mean 8/255?"),
        ("targets=openvino", "targets: must be a list in brackets, got 'openvino'"),
        ("distill.method=AdaAD", "distill.method: unknown method 'AdaAD'; did you mean 'adaad'?"),
        (
            "student.model=shopnet.ShopNet",
            "'shopnet.ShopNet'; one of your own is written shopnet:ShopNet",
        ),
        ("data.dataset=photos", "nor is a folder or an .npz file of that name here"),
        ("distill.epochs=many", "distill.epochs: must be a whole number"),
        ("distill.epochs=many", "got 'many'"),
        ("distill.options.alfa=1", "distill.options.alfa: unknown option; did you mean 'alpha'?"),
        ("distill.method=adaat", "distill.method: unknown method 'adaat'; did you mean 'adaad'?"),
        ("distill.method=mtard", "natural_teacher: missing; distill.method 'mtard' learns from one"),
        ("natural_teacher={model: cnn8_wide}", "natural_teacher: distill.method 'adaad' has no use for one"),
        ("teacher.train.method=adaad", "teacher.train.method: 'adaad' distils; a teacher is trained without one"),
        ("distill.plugins=[mmrd]", "distill.plugins: unknown plugin 'mmrd'; did you mean 'mmard'?"),
        ("distill.plugins=[{mmard: {trangle: 1}}]", "plugins.mmard.trangle: unknown option; did you mean 'triangle'?"),
        ("distill.plugins=[{mmard: {triangle: -1}}]", "distill.plugins.mmard.triangle: must be at least 0"),
        ("distill.plugins=[igdm, igdm]", "distill.plugins.igdm: is there twice"),
        ("distill={method: trades, plugins: [igdm]}", "'igdm' needs a teacher, and the method 'trades' has none"),
        ("distill.warm_start=/nope.pt", "distill.warm_start: /nope.pt: no such file"),
        ("distill.augment=[flp]", "distill.augment.0: unknown augmentation 'flp'; did you mean 'flip'?"),
        ("distill.inner.budget=[[0.5,3],[0.1,4]]", "distill.inner.budget: the fractions of the epochs must rise"),
        ("distill.average.kind=emma", "distill.average.kind: must be 'ema', 'swa' or 'none', got 'emma'"),
        ("distill.peer=cnn9", "distill.peer: unknown model 'cnn9'"),
        ("distill.inner.step=0.2", "distill.inner.step: 0.2 is larger than threat.eps 0.1"),
        ("teacher.train.inner.step=1/2", "teacher.train.inner.step: 0.5 is larger than threat.eps 0.1"),
        ("threat.eps=1.5", "threat.eps: must be in (0, 1] for Linf, got 1.5"),
        ("threat.eps=0", "threat.eps: must be in (0, 1] for Linf, got 0"),
        ("threat.eps=8/0", "threat.eps: must be a number or a fraction such as 8/255, got '8/0'"),
        ("threat.norm=L3", "threat.norm: unknown norm 'L3'; did you mean 'L2'? (known: L2, Linf)"),
        ("data.dataset=digitz", "data.dataset: unknown dataset 'digitz'; did you mean 'digits'?"),
        ("data.dataset=cifar11", "data.dataset: unknown dataset 'cifar11'; did you mean 'cifar10'?"),
        ("data.dataset=no_such_file:load", "dataset 'no_such_file:load': the module no_such_file does not import"),
        ("data.dataset=json:load_it", "dataset 'json:load_it': json has no function 'load_it'"),
        ("data.validation=1.5", "data.validation: must be a number of images (1, 2, ...) or a share between 0 and 1"),
        ("data.train=0", "data.train: must be at least 1, got 0"),
        ("data.extra_fraction=0.5", "data.extra_fraction: says how much of `extra` to mix in, and there is no extra"),
        ("data.extra=nope.npz", "nope.npz: no such file"),
        ("data.roof=x", "data.roof: unknown key; did you mean 'root'?"),
        ("student.model=cnn8_smal", "student.model: unknown model 'cnn8_smal'; did you mean 'cnn8_small'?"),
        ("targets=[onnxruntim]", "targets.0: unknown target 'onnxruntim'; did you mean 'onnxruntime'?"),
        ("targets=[]", "targets: "),
        (
            "targets=[{openvino: {hnt: latency}}]",
            "targets.0.openvino.hnt: unknown option; did you mean 'hint'? (known:",
        ),
        ("targets=[{openvino: {hint: fast}}]", "targets.0.openvino.hint: must be 'latency' or 'throughput'"),
        ("targets=[{openvino: {streams: 0}}]", "targets.0.openvino.streams: at least 1, got 0"),
        ("targets=[{onnxruntime: {provider: cpu}}, onnxruntime]", "targets.onnxruntime: is there twice"),
        ("targets=[{openvino: 3}]", "targets.0.openvino: options as {name: value}, got 3"),
        ("targets=[7]", "targets.0: a target's name, or {name: options}, got 7"),
        ("verify.routes=[replai]", "verify.routes.0: unknown route 'replai'; did you mean 'replay'?"),
        ("verify.samples=0", "verify.samples: must be at least 1, got 0"),
        (
            "verify.corruptions={names: [fogg]}",
            "verify.corruptions.names.0: unknown corruption 'fogg' (known: gaussian",
        ),
        ("verify.corruptions={names: [contrst]}", "unknown corruption 'contrst'; did you mean 'contrast'? (known: "),
        ("verify.corruptions={severities: [6]}", "verify.corruptions.severities.0: must be at most"),
        ("verify.corruptions={severities: [3, 3]}", "verify.corruptions.severities: 3 is there twice"),
        ("gates.corrupted_accuracy=>= 0.9", "gates.corrupted_accuracy: is measured where the recipe has verify.corrup"),
        ("gates.robust_acuracy=>= 1", "gates: unknown figure 'robust_acuracy'; did you mean 'robust_accuracy'?"),
        (
            "gates.retention=about 1",
            "gates.retention: a limit is a comparison such as '>= 0.95' or '>= baseline - 0.03', got 'about 1'",
        ),
        ("schema_version=2", "schema_version: must be 1, got 2"),
        (
            "name=../up",
            "name: must be of letters, digits, '.', '_' and '-', with a letter or a digit first, got",
        ),
        ("data.root=5", "data.root: must be a path, got 5"),
        ("data.extra_fraction=1", "data.extra_fraction: must be below 1, got 1"),
        ("teacher.sha256=abc", "teacher.sha256: must be 64 hexadecimal digits, as sha256sum prints them, got 'abc'"),
        ("targets=[]", "targets: must be a list of at least 1, got []"),
        ("bench.batches=[0]", "bench.batches.0: must be at least 1, got 0"),
        (
            "distill.plugins=[{igdm: 3}]",
            "plugins: an entry is a plugin's name, or {name: {option: value}}, got {'",
        ),
        ("distill.plugins=[{igdm: {alpha: x}}]", "distill.plugins.igdm.alpha: must be a number, got 'x'"),
        (
            "gates={bound_to: 3}",
            "gates.bound_to: must be a section of keys (norm, eps, dataset, samples, effort), got",
        ),
        ("teacher={}", "teacher: model is missing"),
        ("teacher.checkpoint=x.pt", "teacher: give either checkpoint or train, not both"),
        ("teacher={checkpoint: nope.pt}", "nope.pt: no such file"),
    ],
)
def test_mistakes(override: str, words: str):
    with pytest.raises(UsageError) as caught:
        parsed(override)
    message = str(caught.value)
    assert words in message
    assert message.startswith("digits.yaml: ")
    assert "\n" not in message


def test_missing_sections_are_named():
    raw = read_recipe(DIGITS)
    del raw["threat"]
    with pytest.raises(UsageError, match="threat: missing"):
        parse_recipe(raw, "digits.yaml")


@pytest.mark.parametrize(
    ("content", "words"),
    [("a: [", "not valid YAML at line 1"), ("- 1\n- 2\n", "a recipe is a mapping"), ("", "a recipe is a mapping")],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: str, words: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        read_recipe(path)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(UsageError, match="no such recipe file"):
        read_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize("override", ["distill", "=3", "distill..epochs=3", "name.deeper=1"])
def test_overrides_of_another_form(override: str):
    with pytest.raises(UsageError, match="--set"):
        read_recipe(DIGITS, [override])


def test_overrides_apply_and_may_start_a_new_section():
    recipe = parsed("distill.epochs=7", "threat.eps=8/255", "bench.repeats=20", "gates.size_bytes=<= 1e6")
    assert recipe.distill.epochs == 7
    assert recipe.threat.eps == 8 / 255
    assert recipe.bench.repeats == 20
    assert recipe.conditions()[-1].limit == 1e6


def test_a_relative_checkpoint_is_relative_to_the_recipe(tmp_path: Path):
    raw: dict[str, Any] = yaml.safe_load(DIGITS.read_text())
    raw["teacher"] = {"checkpoint": "teacher.safetensors"}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw))
    assert read_recipe(path)["teacher"]["checkpoint"] == str(tmp_path / "teacher.safetensors")


@pytest.mark.parametrize("key", ["root", "extra"])
def test_relative_paths_of_data_are_relative_to_the_recipe(tmp_path: Path, key: str):
    raw: dict[str, Any] = yaml.safe_load(DIGITS.read_text())
    raw["data"][key] = "mine"
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw))
    assert read_recipe(path)["data"][key] == str(tmp_path / "mine")
    assert read_recipe(path, [f"data.{key}=here"])["data"][key] == str(Path.cwd() / "here")


def test_the_data_root_of_the_command_line_wins(tmp_path: Path):
    assert read_recipe(DIGITS, [f"data.root={tmp_path / 'a'}"], tmp_path / "b")["data"]["root"] == str(tmp_path / "b")
    assert read_recipe(DIGITS, data_root="b")["data"]["root"] == str(Path.cwd() / "b")


def test_the_digest_sees_generated_images_and_not_where_any_data_lie(tmp_path: Path):
    digests = []
    for name, content in (("a.npz", b"1"), ("b.npz", b"1"), ("c.npz", b"2")):
        (tmp_path / name).write_bytes(content)
        digests.append(parsed(f"data.extra={tmp_path / name}", f"data.root={tmp_path / name[0]}").digest)
    assert digests[0] == digests[1] != digests[2]
    assert parsed(f"data.root={tmp_path}").digest == parsed().digest


def test_the_digest_sees_every_value_and_nothing_else():
    assert parsed().digest == parsed("distill.epochs=30").digest  # what the file says already
    assert parsed().digest != parsed("distill.epochs=31").digest
    assert parsed().digest.startswith("sha256:")
    assert parsed().digest == parsed("adapter.normalize=half").digest  # no build's models want other pixels


def test_the_digest_sees_what_a_checkpoint_holds_and_not_where_it_lies(tmp_path: Path):
    digests = []
    for name, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / name).write_bytes(content)
        digests.append(parsed(f"teacher={{model: cnn8_wide, checkpoint: {tmp_path / name}}}").digest)
    assert digests[0] == digests[1] != digests[2]


def test_the_resolved_recipe_is_a_recipe():
    recipe = parsed("threat.eps=8/255")
    again = parse_recipe(yaml.safe_load(dump(recipe)), "resolved")
    assert again == recipe
    assert again.digest == recipe.digest


def test_corruptions_enter_neither_the_attacks_nor_the_choice_of_precisions():
    plain, corrupted = parsed(), parsed("verify.corruptions={}", "gates.corrupted_accuracy=>= 0.9")
    assert corrupted.verify.corruptions is not None
    assert len(corrupted.verify.corruptions.names) == 10
    assert corrupted.verify.of_attacks() == plain.verify.of_attacks()
    assert corrupted.floors() == plain.floors()
    assert corrupted.digest != plain.digest


def test_the_shipped_schema_is_the_recipes_own():
    shipped = json.loads((ROOT / "pipeline" / "recipe" / "recipe.schema.json").read_text())
    assert shipped == schema(), "run: edgeproof schema > pipeline/recipe/recipe.schema.json"


def test_the_starter_recipe_is_valid_and_not_overwritten(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    write_recipe(path)
    parse_recipe(read_recipe(path), "starter")
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write_recipe(path)
    assert path.read_text() == "mine"
    write_recipe(path, force=True)
    assert path.read_text() == RECIPE


def test_what_files_hold_counts_and_not_where_they_lie(tmp_path: Path):
    for name, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / name).write_bytes(content)
    first, same, other = (parsed(f"distill.warm_start={tmp_path / name}").digest for name in ("a.pt", "b.pt", "c.pt"))
    assert first == same != other
    assert first != parsed().digest


def test_a_recipe_that_does_not_suit_its_data_costs_no_training(tmp_path: Path):
    with pytest.raises(UsageError, match=r"distill\.augment: shift: 9 is too large for images with a side of 8 pixels"):
        build(DIGITS, out=tmp_path / "run", overrides=["distill.augment=[{shift: 9}]"])
    assert not (tmp_path / "run").exists()


def test_options_of_targets():
    plain = parsed("targets=[openvino]")
    chosen = parsed("targets=[onnxruntime, {openvino: {hint: throughput, streams: 2}}]")
    assert [options.chosen for options in chosen.chosen_targets.values()] == [{}, {"hint": "throughput", "streams": 2}]
    assert parse_recipe(yaml.safe_load(dump(chosen)), "again").chosen_targets == chosen.chosen_targets
    # What is the target's own choice anyway is the same recipe.
    assert parsed("targets=[{openvino: {hint: latency}}]").digest == plain.digest
    assert parsed("targets=[{openvino: {hint: throughput}}]").digest != plain.digest


def test_the_schema_knows_the_options_of_targets():
    _, with_options = schema()["properties"]["targets"]["items"]["anyOf"]
    assert with_options["properties"]["openvino"]["properties"]["hint"]["enum"] == ["latency", "throughput"]
    assert with_options["properties"]["openvino"]["additionalProperties"] is False


def test_gates_against_a_baseline_choose_no_precision():
    recipe = parsed("gates.robust_accuracy=>= baseline - 0.02", "gates.latency_ratio=<= baseline * 1.1")
    assert recipe.gates["robust_accuracy"] == ">= baseline - 0.02"
    assert [condition.relative for condition in recipe.conditions()] == [False, True, False, True]
    assert recipe.floors() == {key: value for key, value in parsed().floors().items() if key != "robust_accuracy"}


def test_a_list_with_a_wrong_entry_is_not_called_too_short():
    with pytest.raises(UsageError) as caught:
        parsed("verify.curve={radii: [-1]}")
    assert str(caught.value) == "digits.yaml: verify.curve.radii.0: must be above 0, got -1"


def test_a_precision_may_be_written_as_a_number():
    assert parsed("distill.precision=32").distill.precision == "32"


def test_a_data_sets_path_is_relative_to_the_recipe(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(DIGITS.read_text().replace("dataset: digits", "dataset: ./photos"))
    assert read_recipe(path)["data"]["dataset"] == str(tmp_path / "photos")
    path.write_text(DIGITS.read_text().replace("dataset: digits", "dataset: photos.npz"))
    assert read_recipe(path)["data"]["dataset"] == str(tmp_path / "photos.npz")
    assert read_recipe(path, ["data.dataset=./here"])["data"]["dataset"] == str(Path.cwd() / "here")
    assert read_recipe(path, ["data.dataset=mine.data:bars"])["data"]["dataset"] == "mine.data:bars"
