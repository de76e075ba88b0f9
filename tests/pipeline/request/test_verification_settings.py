"""Settings of `verify`: options before `--set` before the recipe, and every mistake by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.request.verification_settings import Settings
from edgeproof.stages.adapt import AdapterConfig
from edgeproof.stages.verify import CorruptionsConfig, VerifyConfig

ROOT = Path(__file__).parents[3]
RECIPE = """
schema_version: 1
name: mine
data: {dataset: digits}
threat: {norm: L2, eps: 0.5}
verify: {samples: 20, square_queries: 70, corruptions: {severities: [2]}, curve: null}
"""


def read(
    *overrides: str,
    recipe: Path | None = None,
    data: Any = None,
    threat: Any = None,
    adapter: Any = None,
    surrogate_adapter: Any = None,
    **options: Any,
) -> Settings:
    unsaid = {"samples": None, "seed": None, "packs": None, "corruptions": False, "curve": True}
    data = {"dataset": "digits"} if data is None and recipe is None else data or {}
    threat = {"norm": None, "eps": 0.1} if threat is None and recipe is None else threat or {}
    settings = unsaid | options
    return Settings.read(
        overrides, recipe, data, threat, settings, adapter=adapter, surrogate_adapter=surrogate_adapter
    )


def verify(*overrides: str, **options: Any) -> VerifyConfig:
    return read(*overrides, **options).verify


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def test_what_is_not_said_is_the_sections_default():
    found = read()
    assert found.verify == VerifyConfig()
    assert (found.threat.norm, found.threat.eps, found.data.dataset) == ("Linf", 0.1, "digits")


def test_every_key_of_the_section_can_be_set():
    """Whatever keys it will have: a value that differs from the default arrives."""
    values = {
        "samples": 7,
        "seed": 3,
        "routes": ("square",),
        "attacks": ("apgd-ce",),
        "backward": ("smooth",),
        "square_queries": 9,
        "hard_label_iterations": 2,
        "strong_restarts": 1,
        "shard_size": 4,
        "isolate": False,
        "corruptions": None,
        "packs": (Path("a.npz"),),
        "curve": None,
    }
    assert values.keys() == VerifyConfig.model_fields.keys()
    written = {"routes": "[square]", "attacks": "[apgd-ce]", "backward": "[smooth]", "packs": "[a.npz]"}
    texts = [
        f"verify.{key}={written.get(key, 'null' if value is None else str(value).lower())}"
        for key, value in values.items()
    ]
    assert verify(*texts) == VerifyConfig(**values)


def test_options_win_over_set_over_the_recipe(recipe: Path):
    found = verify("verify.square_queries=8", recipe=recipe, samples=5)
    assert (found.samples, found.square_queries, found.curve) == (5, 8, None)
    assert found.corruptions == CorruptionsConfig(severities=(2,)), "asked for by the recipe"
    assert verify(recipe=recipe, corruptions=True).corruptions == found.corruptions, "no others"
    assert verify(recipe=recipe, corruptions=CorruptionsConfig()).corruptions == CorruptionsConfig()
    assert verify(recipe=recipe).samples == 20


def test_a_recipe_says_which_data_and_which_ball(recipe: Path):
    found = read(recipe=recipe)
    assert (found.threat.norm, found.threat.eps, found.data.dataset) == ("L2", 0.5, "digits")
    other = read(recipe=recipe, threat={"eps": "1/4"}, data={"dataset": "fashion_mnist"})
    assert (other.threat.norm, other.threat.eps, other.data.dataset) == ("L2", 0.25, "fashion_mnist")


def test_how_the_corruptions_are_to_be_is_no_contradiction():
    severe = ["verify.corruptions.severities=[5]"]
    assert verify(*severe).corruptions == verify(*severe, corruptions=True).corruptions
    assert verify(corruptions=True).corruptions == CorruptionsConfig()
    assert verify(curve=False).curve is None


@pytest.mark.parametrize(
    ("overrides", "options", "words"),
    [
        (["verify.samples=5"], {"samples": 5}, "^--samples: --set 'verify.samples=5' says it as well; leave one out$"),
        (["verify.packs=[a.npz]"], {"packs": ["b.npz"]}, "^--pack: --set .* says it as well"),
        (["verify.curve.samples=5"], {"curve": False}, "^--no-curve: --set .* says it as well"),
        (["verify.corruptions=null"], {"corruptions": CorruptionsConfig()}, "^--corruptions: --set .* says it as well"),
        (["verify.square_querys=5"], {}, "^--set verify.square_querys: unknown key; did you mean|unknown key"),
        (["verify.square_queries=0"], {}, "^--set verify.square_queries: must be at least 1, got 0"),
        (["verify.routes=[squash]"], {}, "^--set verify.routes.0: unknown route 'squash'"),
        (["distill.epochs=1"], {}, "^--set 'distill.epochs=1': must be of the form verify.key=value$"),
        (["verify=3"], {}, "must be of the form verify.key=value$"),
        (["verify.seed"], {}, "^--set 'verify.seed': must be of the form"),
        ([], {"seed": -1}, "^--seed: must be at least 0, got -1"),
        ([], {"data": {}}, "^--dataset: is needed, or a --recipe that names one$"),
        ([], {"threat": {}}, "^--eps: is needed, or a --recipe that says it$"),
    ],
)
def test_mistakes_are_named(overrides: list[str], options: dict[str, Any], words: str):
    with pytest.raises(UsageError, match=words):
        read(*overrides, **options)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("samples: 20", "samples: 0", r"recipe\.yaml: verify\.samples: .* got 0"),
        ("eps: 0.5", "eps: -1", r"recipe\.yaml: threat\.eps"),
        ("dataset: digits", "dataset: digitz", "unknown dataset 'digitz'"),
    ],
)
def test_mistakes_of_the_recipe_are_its_own(recipe: Path, old: str, new: str, words: str):
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(UsageError, match=words):
        read(recipe=recipe)


def test_an_adapter_of_the_recipe_and_an_option_that_wins(tmp_path: Path):
    (tmp_path / "map.txt").write_text("1\n0\n")
    recipe = tmp_path / "recipe.yaml"
    said = "adapter: {mean: [1], std: [2], label_map: map.txt, flatten: true}\nsurrogate_adapter: {layout: NHWC}\n"
    recipe.write_text(RECIPE + said)
    found = read(recipe=recipe)
    assert (found.adapter.mean, found.adapter.std, found.adapter.flatten) == ((1.0,), (2.0,), True)
    assert found.adapter.label_map == tmp_path / "map.txt", "relative to the recipe"
    assert found.surrogate_adapter == AdapterConfig(layout="NHWC")
    found = read(recipe=recipe, adapter={"normalize": "half"}, surrogate_adapter=AdapterConfig(layout="NCHW"))
    assert (found.adapter.normalize, found.adapter.mean, found.adapter.flatten) == ("half", None, True)
    assert found.surrogate_adapter.layout == "NCHW"
    found = read(recipe=recipe, adapter={"mean": "3"})
    assert (found.adapter.mean, found.adapter.std) == ((3.0,), (2.0,))


@pytest.mark.parametrize(
    ("section", "options", "words"),
    [
        (
            "adapter: {normalise: half}",
            {},
            r"recipe\.yaml: adapter\.normalise: unknown key; did you mean 'norm",
        ),
        ("surrogate_adapter: {std: [0]}", {}, r"recipe\.yaml: surrogate_adapter\.std: must be above 0"),
        ("adapter: half", {}, r"recipe\.yaml: adapter: must be a section of keys, got 'half'"),
        ("", {"adapter": {"input_dtype": "int4"}}, "^--input-dtype: must be 'float32'"),
        ("", {"surrogate_adapter": {"scale": 0}}, "^--surrogate-scale: must be at least 1e-06, got 0"),
        ("", {"surrogate_adapter": {"classes_offset": -1}}, "^--surrogate-classes-offset: must be at least 0"),
    ],
)
def test_adapters_that_say_nothing_sensible(tmp_path: Path, section: str, options: Any, words: str):
    (tmp_path / "recipe.yaml").write_text(RECIPE + section)
    with pytest.raises(UsageError, match=words):
        read(recipe=tmp_path / "recipe.yaml", **options)
