"""The pruned network: consistent, as small as was asked for, and the same wherever it is built again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.checkpoint import save_weights
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill.folded import FoldedCopy
from edgeproof.stages.export import export_onnx
from edgeproof.stages.models import build_model
from edgeproof.stages.prune import PruneConfig, PruningRecord
from edgeproof.stages.prune.architecture import cut_layers
from edgeproof.stages.prune.check_equivalence import mistake
from edgeproof.stages.prune.coupling import Couplings
from edgeproof.stages.prune.record import Accuracy, Cut
from edgeproof.stages.prune.size import size_of
from edgeproof.stages.threat import ThreatModel
from edgeproof.targets.onnxruntime.target import open_session
from torch import Tensor, nn

from tests.stages.prune.conftest import Pruned, Shape, lively, prune

pytest.importorskip("torch_pruning")

# Name, image shape, round_to, and the fractions of parameters and multiply-adds that are left of half the channels.
NETWORKS: dict[str, tuple[Shape, int, float, float]] = {
    "cnn8_small": ((1, 8, 8), 4, 0.30, 0.29),
    "cnn28_small": ((1, 28, 28), 2, 0.36, 0.29),
    "resnet18": ((3, 8, 8), 8, 0.25, 0.25),
    "mobilenet_v2": ((3, 8, 8), 8, 0.27, 0.27),
    "wrn_10_2": ((3, 8, 8), 8, 0.25, 0.26),
    "preact_resnet18": ((3, 8, 8), 8, 0.25, 0.25),
}


@pytest.fixture(scope="module", params=NETWORKS)
def pruned(request: pytest.FixtureRequest, by_name: Callable[..., Pruned]) -> Pruned:
    shape, round_to, *_ = NETWORKS[request.param]
    return by_name(request.param, shape, round_to=round_to)


def images(shape: Shape, count: int = 4) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def answer(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network.eval()(x)


def record(pruned: Pruned, path: Path) -> Path:
    """As `prune_student` writes it."""
    none = Accuracy(clean=0, pgd=0)
    PruningRecord(
        model=pruned.name,
        image_shape=pruned.shape,
        classes=10,
        seed=0,
        config={},
        channels=0,
        before=size_of(pruned.whole, pruned.shape),
        after=size_of(pruned.pruned, pruned.shape),
        accuracy_before=none,
        rounds=(),
        whole={},
        layers=dict(pruned.choice.cuts),
    ).save(path)
    return path


def test_it_is_as_small_as_was_asked_for(pruned: Pruned):
    _, round_to, parameters, multiply_adds = NETWORKS[pruned.name]
    before, after = size_of(pruned.whole, pruned.shape), size_of(pruned.pruned, pruned.shape)
    assert after.parameters / before.parameters == pytest.approx(parameters, abs=0.03)
    assert after.multiply_adds / before.multiply_adds == pytest.approx(multiply_adds, abs=0.03)
    assert pruned.choice.left / sum(pruned.choice.initial.values()) == pytest.approx(0.5, abs=0.03)
    for name, layer in pruned.pruned.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.out_channels % round_to == 0, name
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups), name


def test_inputs_and_logits_stay(pruned: Pruned):
    assert answer(pruned.pruned, images(pruned.shape)).shape == (4, 10)
    assert list(pruned.choice.whole.values()) == ["its outputs are the logits"]
    convolutions = [layer for layer in pruned.pruned.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].in_channels == pruned.shape[0]


def test_it_computes_what_the_librarys_own_pruning_does(pruned: Pruned):
    theirs = lively(build_model(pruned.name, pruned.shape, 10, seed=0))
    couplings = Couplings(theirs, pruned.shape, pruned.name)
    for coupled in couplings.coupled:
        root = coupled.group[0].dep
        channels = pruned.choice.cuts[coupled.layer].outputs
        couplings._graph.get_pruning_group(root.target.module, root.handler, list(channels)).prune()
    x = images(pruned.shape)
    assert torch.equal(answer(pruned.pruned, x), answer(theirs, x))


def test_it_computes_what_the_whole_one_does_without_the_cut_channels(pruned: Pruned):
    x = images(pruned.shape)
    expected, found = answer(without(pruned), x), answer(pruned.pruned, x)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (found - answer(pruned.whole, x)).abs().max() > 1e-2 * expected.abs().max()


def without(pruned: Pruned) -> nn.Module:
    """The whole network with the weights zeroed that read a cut channel."""
    whole = lively(build_model(pruned.name, pruned.shape, 10, seed=0))
    for name, cut in pruned.choice.cuts.items():
        layer = whole.get_submodule(name)
        if isinstance(layer, nn.Conv2d | nn.Linear) and cut.inputs:
            with torch.no_grad():
                layer.weight[:, list(cut.inputs)] = 0
    return whole


def test_it_is_built_again_from_its_files(pruned: Pruned, tmp_path: Path):
    weights = tmp_path / "w.safetensors"
    save_weights(pruned.pruned.state_dict(), weights, model=pruned.name)
    classifier = Classifier(pruned.name, weights, pruned.shape, 10, record(pruned, tmp_path / "pruning.json"))
    x = images(pruned.shape)
    elsewhere: Classifier = pickle.loads(pickle.dumps(classifier))
    assert elsewhere == classifier
    assert torch.equal(answer(elsewhere.load(), x), answer(pruned.pruned, x))
    assert classifier.parameters() == size_of(pruned.pruned, pruned.shape).parameters
    with pytest.raises(UsageError, match=r"does not fit model .* in the file and .* in the model"):
        Classifier(pruned.name, weights, pruned.shape, 10).load()


def test_a_fast_stand_in_answers_the_same(pruned: Pruned):
    x, fast = images(pruned.shape), FoldedCopy(pruned.pruned)
    assert fast.obstacle is None
    found, expected = answer(fast, x), answer(pruned.pruned, x)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["cnn8_small", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_its_export_agrees(name: str, by_name: Callable[..., Pruned], tmp_path: Path):
    shape, round_to, *_ = NETWORKS[name]
    pruned = by_name(name, shape, round_to=round_to)
    export_onnx(pruned.pruned, shape, tmp_path / "m.onnx", opset=18)
    session = open_session(tmp_path / "m.onnx")
    x = images(shape)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = answer(pruned.pruned, x)
    assert (torch.from_numpy(found) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_multiply_adds_are_counted_as_by_hand():
    size = size_of(build_model("cnn8_small", (1, 8, 8), 10, seed=0), (1, 8, 8))
    assert size.multiply_adds == 64 * 9 * 1 * 8 + 16 * 9 * 8 * 16 + 4 * 9 * 16 * 24 + 96 * 10
    depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
    assert size_of(depthwise, (6, 5, 5)).multiply_adds == 25 * 9 * 6


def test_groups_of_a_convolution_stay_of_one_size(digits: Dataset, threat: ThreatModel):
    """Two kinds of groups behind each other, and a depthwise convolution with two filters a channel."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 48, 3, padding=1),
        nn.Conv2d(48, 24, 3, groups=6),
        nn.ReLU(),
        nn.Conv2d(24, 40, 3, groups=4),
        nn.BatchNorm2d(40),
        nn.Conv2d(40, 16, 1),
        nn.Conv2d(16, 32, 3, groups=16, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    config = PruneConfig(ratio=0.5, importance="taylor", round_to=4, samples=64)
    pruned = prune(lively(network), (1, 8, 8), config, digits, threat)
    assert mistake(pruned.whole, pruned.pruned, pruned.choice.cuts, pruned.shape) is None
    assert [layer.weight.shape[:2] for layer in pruned.pruned if isinstance(layer, nn.Conv2d)] == [
        (24, 1), (12, 4), (20, 3), (16, 20), (16, 1)
    ]  # fmt: skip
    # The 24 channels between the two are divided by 6 and by 4, so 12 together; the 16 cannot lose any.
    outputs = pruned.choice.cuts["1"].outputs
    assert {index % 2 for index in outputs} in ({0}, {1})
    assert pruned.choice.whole["5"] == "its 16 channels cannot go but all together"


class Res2Like(nn.Module):
    """Splits its channels and adds parts of them to each other, which torch-pruning gets wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.last = nn.Conv2d(1, 24, 3), nn.Conv2d(24, 16, 1)
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(self.one(x), 8, 1)
        out = self.first(parts[0])
        out = torch.cat([out, self.second(out + parts[1]), parts[2]], 1)
        return self.linear(self.last(out).mean((2, 3)))


def test_what_the_library_gets_wrong_stays_whole(digits: Dataset, threat: ThreatModel):
    torch.manual_seed(0)
    config = PruneConfig(ratio=0.5, importance="magnitude_l1")
    pruned = prune(lively(Res2Like()), (1, 8, 8), config, digits, threat)
    assert mistake(pruned.whole, pruned.pruned, pruned.choice.cuts, pruned.shape) is None
    assert set(pruned.choice.cuts) == {"last", "linear"}
    assert pruned.choice.whole["first"] == "torch-pruning couples it with channel 31 of Conv2d 'one', which has 24"


@pytest.mark.parametrize("ratio", [0.2, 0.7])
@pytest.mark.parametrize("global_ranking", [False, True])
def test_any_ratio_in_either_ranking(by_name: Callable[..., Pruned], ratio: float, global_ranking: bool):
    pruned = by_name("wrn_10_2", (3, 8, 8), ratio=ratio, global_ranking=global_ranking, round_to=4)
    left = pruned.choice.left / sum(pruned.choice.initial.values())
    assert left == pytest.approx(1 - ratio, abs=0.04)
    assert mistake(pruned.whole, pruned.pruned, pruned.choice.cuts, pruned.shape) is None
    widths = [layer.out_channels for layer in pruned.pruned.modules() if isinstance(layer, nn.Conv2d)]
    assert all(width % 4 == 0 for width in widths)
    kept = {
        round(layer.out_channels / whole.out_channels, 1)
        for layer, whole in zip(pruned.pruned.modules(), pruned.whole.modules(), strict=True)
        if isinstance(layer, nn.Conv2d) and isinstance(whole, nn.Conv2d)
    }
    assert (len(kept) > 2) == global_ranking, "ranked together, layers lose different fractions"


def test_channels_that_do_not_belong_together_are_noticed(by_name: Callable[..., Pruned]):
    """Each defect leaves a network that runs."""
    pruned = by_name("resnet18", (3, 8, 8))
    assert mistake(pruned.whole, pruned.pruned, pruned.choice.cuts, pruned.shape) is None
    for name in ("layer1.0.conv2", "layer4.1.conv1", "linear"):
        cut = pruned.choice.cuts[name]
        shifted = tuple(index + 1 if index + 1 not in cut.inputs else index for index in cut.inputs[:-1])
        wrong = pruned.choice.cuts | {name: Cut(outputs=cut.outputs, inputs=(*shifted, cut.inputs[-1]))}
        assert wrong != pruned.choice.cuts
        network = lively(build_model("resnet18", (3, 8, 8), 10, seed=0))
        cut_layers(network, wrong)
        problem = mistake(pruned.whole, network, wrong, pruned.shape)
        assert problem is not None
        assert problem.startswith("torch-pruning mistakes its channels for each other: the logits differ by ")
