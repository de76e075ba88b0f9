"""A command's options are those of the function that does its work, with what its docstring says of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import typer
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.cli.main import app
from edgeproof.pipeline.commands.bench import bench_files
from edgeproof.pipeline.commands.build import build
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.commands.teachers import rank_teachers
from edgeproof.pipeline.commands.verify import verify


def command(name: str) -> Any:
    group: Any = typer.main.get_command(app)
    return group.commands[name]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("build", build),
        ("verify", verify),
        ("bench", bench_files),
        ("teachers", rank_teachers),
        ("gate", gate),
        ("bundle", make_bundle),
        ("card", model_card),
    ],
)
def test_every_parameter_is_there_with_its_default_and_its_words(name: str, function: Callable[..., object]):
    options = {each.name: each for each in command(name).params}
    docstring = " ".join((function.__doc__ or "").replace("`", "").split()).lower()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("reporter", "until", "images", "labels", "class_names"):  # of Python alone
            assert parameter.name not in options
            continue
        if parameter.name.endswith("adapter"):  # whose keys are options of their own
            whose = parameter.name.removesuffix("adapter")
            assert {f"{whose}{key}" for key in ("layout", "mean", "label_map")} <= options.keys()
            continue
        option = options[parameter.name]
        assert option.required is (parameter.default is parameter.empty)
        if not isinstance(parameter.default, (tuple, inspect._empty)) and parameter.default is not parameter.empty:
            assert option.default == parameter.default
        words = option.help.replace("\\[", "[").lower().removesuffix(".").removesuffix("; repeatable")
        assert f"{parameter.name}: {words}" in docstring


def test_names_bounds_and_lists():
    options = {each.name: each for each in command("verify").params}
    assert options["packs"].opts == ["--pack"]
    assert options["packs"].multiple
    assert options["samples"].min == 1
    assert options["seed"].min == 0
    assert (options["curve"].opts, options["curve"].secondary_opts) == (["--curve"], ["--no-curve"])
    assert not options["sequential"].secondary_opts
    assert (options["flatten"].opts, options["flatten"].is_flag) == (["--flatten"], True)
    batch = next(each for each in command("bench").params if each.name == "batches")
    assert (batch.opts, batch.multiple, batch.min) == (["--batch"], True, 1)
