"""The stage on the digits: robustness comes back, the same seed gives the same files, a killed run goes on."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from edgeproof.stages.checkpoint import read_checkpoint, save_weights
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill import Progress, TrainingContext
from edgeproof.stages.distill.folded import FoldedCopy
from edgeproof.stages.distill.training.selection import pgd_accuracy
from edgeproof.stages.export import export_onnx, measure_parity
from edgeproof.stages.normalization import Normalization
from edgeproof.stages.prune import PRUNING, PruneConfig, prune_student, read_pruning
from edgeproof.stages.prune import pruning as make
from edgeproof.stages.prune.importance import importances, sample
from edgeproof.stages.threat import ThreatModel

from tests import warm

pytest.importorskip("torch_pruning")

QUICK: dict[str, Any] = {
    "ratio": 0.5,
    "round_to": 4,
    "samples": 128,
    "train": {"epochs": 2, "inner": {"steps": 2}, "selection_steps": 3},
}
# All but metrics.csv, which holds times.
REPEATABLE = ("model.safetensors", PRUNING, "training.json")


class Killed(Exception):
    pass


@pytest.fixture
def run(student: Classifier, small: Dataset, threat: ThreatModel) -> Callable[..., Classifier]:
    def pruned(
        folder: Path,
        running: TrainingContext | None = None,
        source: Classifier = student,
        data: Dataset = small,
        **settings: Any,
    ) -> Classifier:
        folder.mkdir(exist_ok=True)
        config = PruneConfig.model_validate(QUICK | settings)
        prune_student(
            source, config, student, data, threat, folder, running=running or TrainingContext(accelerator="cpu")
        )
        return replace(source, weights=folder / "model.safetensors", pruning=folder / PRUNING)

    return pruned


def images(data: Dataset) -> torch.Tensor:
    return torch.from_numpy(data.validation.images)


@pytest.fixture(scope="module")
def finished(
    student: Classifier, digits: Dataset, threat: ThreatModel, tmp_path_factory: pytest.TempPathFactory
) -> Classifier:
    """Half of the channels, by the adversarial loss; four short epochs."""
    folder = tmp_path_factory.mktemp("finished")
    settings = {"ratio": 0.5, "round_to": 4, "train": {"epochs": 4, "inner": {"steps": 5}}}
    prune_student(student, PruneConfig.model_validate(settings), student, digits, threat, folder)
    return replace(student, weights=folder / "model.safetensors", pruning=folder / PRUNING)


def test_fine_tuning_brings_robustness_back(
    finished: Classifier, student: Classifier, digits: Dataset, threat: ThreatModel
):
    assert finished.pruning is not None
    record = read_pruning(finished.pruning)
    (done,) = record.rounds
    assert record.accuracy_before.pgd > 0.85
    assert done.pruned.pgd < 0.4
    assert done.fine_tuned is not None
    assert done.fine_tuned.pgd > done.pruned.pgd + 0.3
    # What the record says is so, by the files alone.
    for classifier, figures, size in (
        (student, record.accuracy_before, record.before),
        (finished, done.fine_tuned, record.after),
    ):
        found = pgd_accuracy(classifier.load(), digits.validation, threat, steps=20, seed=0)
        assert found == (figures.clean, figures.pgd)
        assert classifier.parameters() == size.parameters
    assert done.size == record.after
    assert record.after.parameters == 1726
    assert (record.channels, done.channels) == (48, 24)
    assert record.whole == {"10": "its outputs are the logits"}
    assert list(record.layers) == ["0", "1", "3", "4", "6", "7", "10"], "in the network's order"


def test_its_files(finished: Classifier):
    folder = finished.weights.parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "metrics.csv", "model.safetensors", "pruning.json", "training.json"
    ]  # fmt: skip
    assert read_checkpoint(finished.weights).model == "cnn8_small"
    training = json.loads((folder / "training.json").read_text())
    record = read_pruning(folder / PRUNING)
    assert len(training["history"]) == 4
    assert record.rounds[0].fine_tuned is not None
    assert training["best"]["pgd_accuracy"] == record.rounds[0].fine_tuned.pgd
    assert len(list(csv.DictReader((folder / "metrics.csv").open()))) == 4
    with finished.weights.open("rb") as file:
        assert b"pickle" not in file.read()


def test_a_stand_in_and_the_exported_file_agree(
    finished: Classifier, digits: Dataset, threat: ThreatModel, tmp_path: Path
):
    model, x = finished.load(), images(digits)
    with torch.no_grad():
        assert torch.allclose(FoldedCopy(model)(x), model(x), atol=1e-4)
    export_onnx(model, finished.image_shape, tmp_path / "m.onnx", opset=18)
    parity = measure_parity(model, tmp_path / "m.onnx", digits, threat)
    assert parity["smallest_tolerance_that_passes"] < 1e-5


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_same_seed_gives_the_same_files_and_another_others(
    run: Callable[..., Classifier], tmp_path: Path, rounds: int
):
    one, two = (run(tmp_path / name, rounds=rounds) for name in ("one", "two"))
    other = run(tmp_path / "other", rounds=rounds, train=QUICK["train"] | {"seed": 1})
    for name in REPEATABLE:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
        assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "other" / name).read_bytes(), name
    assert one.parameters() == two.parameters() == other.parameters()


def test_rounds_prune_in_steps(run: Callable[..., Classifier], small: Dataset, tmp_path: Path):
    told: list[int] = []
    notices: list[str] = []
    steps: list[Progress] = []
    running = TrainingContext(
        accelerator="cpu", on_epoch=lambda epoch: told.append(epoch.epoch), notice=notices.append, on_step=steps.append
    )
    pruned = run(tmp_path, running, rounds=3, round_to=2, global_ranking=True)
    record = read_pruning(tmp_path / PRUNING)
    assert [each.ratio for each in record.rounds] == pytest.approx([1 / 6, 1 / 3, 1 / 2])
    assert [each.channels for each in record.rounds] == pytest.approx([40, 32, 24], abs=2)
    sizes = [each.size.parameters for each in record.rounds]
    assert 5746 > sizes[0] > sizes[1] > sizes[2] == record.after.parameters == pruned.parameters()
    assert told == [1, 2, 3, 4, 5, 6]
    assert {(step.epoch, step.epochs) for step in steps} == {(epoch, 6) for epoch in told}
    training = json.loads((tmp_path / "training.json").read_text())
    assert [epoch["epoch"] for epoch in training["history"]] == told
    assert training["best"]["epoch"] > 4, "of the last round: those before have other channels"
    assert record.rounds[-1].fine_tuned is not None
    assert training["best"]["pgd_accuracy"] == record.rounds[-1].fine_tuned.pgd
    assert notices[-1] == (
        f"prune: round 3 of 3: {record.rounds[-1].channels} of 48 channels left, "
        f"{record.after.parameters:,} of 5,746 parameters, {record.after.multiply_adds:,} of 37,824 multiply-adds"
    )
    with torch.no_grad():
        assert pruned.load()(images(small)).shape == (100, 10)


# Where a run of two rounds is killed: at a step of an epoch, or by the notice before something.
DEATHS: dict[str, tuple[int, int] | str] = {
    "before anything is trained": (1, 1),
    "in the first round": (2, 1),
    "between the rounds": "prune: round 2 of 2",
    "in the second round": (4, 2),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_killed_run_goes_on_to_the_same_weights(run: Callable[..., Classifier], tmp_path: Path, death: str):
    run(tmp_path / "whole", rounds=2)
    folder, when = tmp_path / "broken", DEATHS[death]

    def on_step(progress: Progress) -> None:
        if (progress.epoch, progress.step) == when:
            raise Killed

    def notice(line: str) -> None:
        if isinstance(when, str) and line.startswith(when):
            raise Killed

    with pytest.raises(Killed):
        run(folder, TrainingContext(folder=folder, accelerator="cpu", on_step=on_step, notice=notice), rounds=2)
    assert not (folder / "model.safetensors").exists()
    epochs: list[int] = []
    running = TrainingContext(folder=folder, accelerator="cpu", on_epoch=lambda epoch: epochs.append(epoch.epoch))
    run(folder, running, rounds=2)
    first = {
        "before anything is trained": 1,
        "in the first round": 2,
        "between the rounds": 3,
        "in the second round": 4,
    }
    assert epochs == list(range(first[death], 5))
    for name in REPEATABLE:
        assert (tmp_path / "whole" / name).read_bytes() == (folder / name).read_bytes(), name
    left = {path.name for path in folder.iterdir()} - {"tensorboard"}
    assert left == {"model.safetensors", "pruning.json", "training.json", "metrics.csv"}


def test_what_a_killed_run_chose_stands(
    run: Callable[..., Classifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another machine might rank nearly equal channels in another order."""
    asked: list[int] = []

    def shuffled(network: object, coupled: list[Any], *_: object) -> list[list[float]]:
        asked.append(len(coupled))
        return [torch.rand(each.units).tolist() for each in coupled]

    def kill(progress: Progress) -> None:
        if progress.epoch == 2:
            raise Killed

    monkeypatch.setattr(make, "importances", shuffled)
    with pytest.raises(Killed):
        run(tmp_path, TrainingContext(folder=tmp_path, accelerator="cpu", on_step=kill))
    pruned = run(tmp_path, TrainingContext(folder=tmp_path, accelerator="cpu"))
    assert asked == [3]
    assert pruned.pruning is not None
    assert pruned.load()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_a_pruned_student_is_pruned_on(run: Callable[..., Classifier], tmp_path: Path):
    once = run(tmp_path / "once", ratio=0.25, round_to=2)
    twice = run(tmp_path / "twice", source=once, ratio=0.3, round_to=2)
    assert once.pruning is not None
    assert twice.pruning is not None
    first, second = read_pruning(once.pruning), read_pruning(twice.pruning)
    assert second.before == first.after
    assert second.accuracy_before == first.rounds[-1].fine_tuned
    assert second.channels == first.rounds[-1].channels
    for name, cut in first.layers.items():
        assert set(cut.outputs) < set(second.layers[name].outputs) or not cut.outputs
        assert set(cut.inputs) < set(second.layers[name].inputs) or not cut.inputs
    assert twice.load()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_a_normalised_student_keeps_its_normalisation(
    run: Callable[..., Classifier], student: Classifier, small: Dataset, tmp_path: Path
):
    """The same function as the student's, in other numbers."""
    weights = {name: value.clone() for name, value in read_checkpoint(student.weights).weights.items()}
    weights["0.weight"] *= 2
    shifted = Classifier("cnn8_small", tmp_path / "w.safetensors", (1, 8, 8), 10)
    doubling = Normalization(mean=(0.0,), std=(2.0,))
    save_weights(weights, shifted.weights, model="cnn8_small", normalize=doubling)
    expected, found = (
        run(tmp_path / name, source=source, importance="magnitude_l1", train=QUICK["train"] | {"epochs": 1})
        for name, source in (("plain", student), ("shifted", shifted))
    )
    assert read_checkpoint(found.weights).normalize == doubling
    assert "0.weight" in read_checkpoint(found.weights).weights
    assert expected.pruning is not None
    assert found.pruning is not None
    record = read_pruning(found.pruning)
    assert record.accuracy_before == read_pruning(expected.pruning).accuracy_before
    (done,) = record.rounds
    assert done.fine_tuned is not None
    with torch.no_grad():
        right = found.load()(images(small)).argmax(1) == torch.from_numpy(small.validation.labels)
    assert float(right.float().mean()) == pytest.approx(done.fine_tuned.clean)


@pytest.mark.parametrize("importance", ["magnitude_l1", "magnitude_l2", "taylor"])
def test_importance_tells_dead_channels(importance: str, student: Classifier, small: Dataset, threat: ThreatModel):
    """Channels that nobody reads, and one that everybody does, whatever its own filter looks like."""
    from edgeproof.stages.prune.coupling import Couplings

    network: Any = student.load().requires_grad_(True)
    with torch.no_grad():
        for channel in (2, 5):
            network[0].weight[channel] *= 1e-3
            network[1].weight[channel] *= 1e-3
            network[1].bias[channel] = 0
            network[3].weight[:, channel] *= 1e-3
        network[3].weight[:, 6] *= 3
    couplings = Couplings(network, (1, 8, 8), "net")
    config = PruneConfig.model_validate(QUICK | {"importance": importance})
    found = importances(network, couplings.coupled, config, small.train, threat)
    scores = dict(zip([each.layer for each in couplings.coupled], found, strict=True))["0"]
    order = sorted(range(8), key=scores.__getitem__)
    assert set(order[:2]) == {2, 5}
    assert order[-1] == 6
    assert all(parameter.grad is None for parameter in network.parameters())


def test_taylor_asks_the_adversarial_loss(
    student: Classifier, small: Dataset, threat: ThreatModel, monkeypatch: pytest.MonkeyPatch
):
    """Against torch's own gradient at x' of the whole sample at once."""
    from edgeproof.stages.distill.training.selection import pgd_attack
    from edgeproof.stages.prune.coupling import Couplings

    config = PruneConfig.model_validate(QUICK | {"samples": 100})
    network: Any = student.load().requires_grad_(True)
    couplings = Couplings(network, (1, 8, 8), "net")
    found = importances(network, couplings.coupled, config, small.train, threat)
    split = sample(small.train, 100, 0)
    x, y = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    x_adv = pgd_attack(network, x, y, threat, steps=3, seed=0)
    by_layer = dict(zip([each.layer for each in couplings.coupled], found, strict=True))

    def expected(images: torch.Tensor) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(network(images), y)
        own, reader = torch.autograd.grad(loss, [network[0].weight, network[3].weight])
        effect = (own * network[0].weight).abs().sum((1, 2, 3)) + (reader * network[3].weight).abs().sum((0, 2, 3))
        return (effect / effect.mean()).detach()

    assert torch.tensor(by_layer["0"]).allclose(expected(x_adv), rtol=1e-3)
    assert not torch.tensor(by_layer["0"]).allclose(expected(x), rtol=0.05)


def test_the_sample_is_drawn_by_the_seed(small: Dataset):
    one, two, other = (sample(small.train, 50, seed).index.tolist() for seed in (0, 0, 1))
    assert one == two != other
    assert len(set(one)) == 50
    assert len(sample(small.train, 10_000, 0)) == len(small.train)


SCRIPT = """
    import sys
    from pathlib import Path
    import torch
    from dataclasses import replace
    from edgeproof.stages.classifier import Classifier
    from edgeproof.stages.data import DataConfig, load_dataset
    from edgeproof.stages.distill import TrainingContext
    from edgeproof.stages.prune import PruneConfig, prune_student
    from edgeproof.stages.threat import ThreatModel
    import os, tempfile

    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) / os.environ.get("LOCAL_RANK", "0")
    folder.mkdir()
    student = Classifier("cnn8_small", Path(sys.argv[2]), (1, 8, 8), 10)
    digits = load_dataset(DataConfig(dataset="digits"))
    digits = replace(digits, train=digits.train.take(slice(0, 200)), validation=digits.validation.take(slice(0, 60)))
    config = PruneConfig.model_validate(
        {"ratio": 0.5, "round_to": 4, "samples": 64, "rounds": 2,
         "train": {"epochs": 1, "inner": {"steps": 1}, "selection_steps": 2}}
    )
    running = TrainingContext(folder=folder, accelerator="cpu", devices=2)
    prune_student(student, config, student, digits, ThreatModel(eps=0.1), folder, running=running)
"""


@pytest.mark.slow
def test_two_processes_agree_on_what_goes(student: Classifier, tmp_path: Path):
    (tmp_path / "pruning.py").write_text(textwrap.dedent(SCRIPT))
    code, _, err = warm.run([str(tmp_path), str(student.weights)], script=tmp_path / "pruning.py")
    assert code == 0, err
    assert (tmp_path / "0" / PRUNING).read_bytes() == (tmp_path / "1" / PRUNING).read_bytes()
    one, two = (read_checkpoint(tmp_path / rank / "model.safetensors").weights for rank in "01")
    # BatchNorm's statistics are each process's own on a CPU.
    learnt = [name for name in one if "running" not in name]
    assert all(torch.equal(one[name], two[name]) for name in learnt)
