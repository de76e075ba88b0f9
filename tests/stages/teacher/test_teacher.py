"""Teachers that come from elsewhere: what is taken, what is refused before anything is learnt, and how it is said."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from edgeproof.core.errors import StageError, UsageError
from edgeproof.core.model_file import sha256_of
from edgeproof.stages.checkpoint import WEIGHTS, read_checkpoint, save_weights
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.models import models, robustbench
from edgeproof.stages.normalization import Normalization, Normalized
from edgeproof.stages.teacher import TeacherConfig, make_teacher, weight_file
from edgeproof.stages.threat import ThreatModel
from pydantic import ValidationError
from torch import nn

from tests.stages.teacher.brightness import CLASSES, Bright, bright_dataset

SHAPE = (3, 32, 32)
THREAT = ThreatModel(eps=8 / 255)  # type: ignore[arg-type]
BYTES = Normalization(mean=(0.0,), std=(1 / 255,))


class Zoo(Bright):
    """An architecture with its normalisation inside, which the zoo's files lack."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mu", torch.zeros(1, 3, 1, 1))
        self.register_buffer("sigma", torch.ones(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward((images - self.mu) / self.sigma)


def blank(model: nn.Module) -> nn.Module:
    """A model as it is before it is trained."""
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bright_dataset()


@pytest.fixture(autouse=True)
def bright(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A registered architecture, and a zoo of one model whose weights are not here."""
    models.names()
    monkeypatch.setitem(models._entries, "bright", lambda shape, classes: blank(Bright(classes, channels=shape[0])))
    entries = {
        "Bright2026": {"model": lambda: blank(Zoo()), "gdrive_id": "drive-id"},
        "Ensemble2026": {"model": Zoo, "gdrive_id": ["one", "two"]},
    }
    zoo = {("cifar10", "Linf"): entries, ("cifar10", "L2"): {"Other2026": entries["Bright2026"]}}
    monkeypatch.setattr(robustbench, "zoo", lambda: zoo)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return


def made(tmp_path: Path, data: Dataset, **config: Any) -> torch.nn.Module:
    """The teacher that later stages load."""
    folder = tmp_path / "made"
    folder.mkdir(exist_ok=True)
    make_teacher(TeacherConfig(**config), data, THREAT, folder)
    name = read_checkpoint(folder / WEIGHTS).model
    assert name is not None
    return Classifier(name, folder / WEIGHTS, data.image_shape, CLASSES).load()


def refused(tmp_path: Path, data: Dataset, **config: Any) -> str:
    folder = tmp_path / "made"
    folder.mkdir()
    with pytest.raises(UsageError) as caught:
        make_teacher(TeacherConfig(**config), data, THREAT, folder)
    assert list(folder.iterdir()) == []
    message = str(caught.value)
    assert "\n" not in message
    return message


def saved(path: Path, model: nn.Module) -> Path:
    torch.save(model.state_dict(), path)
    return path


def agree(found: nn.Module, expected: nn.Module) -> bool:
    images = torch.rand(4, *SHAPE)
    with torch.no_grad():
        return torch.allclose(found(images), expected.eval()(images), atol=1e-4)


def test_a_checkpoint(tmp_path: Path, data: Dataset):
    path = saved(tmp_path / "t.pt", Bright())
    assert agree(made(tmp_path, data, model="bright", checkpoint=path), Bright())


def test_a_checkpoint_that_expects_normalised_images_takes_pixels_afterwards(tmp_path: Path, data: Dataset):
    trained = Bright()  # on pixels in [0, 255]
    with torch.no_grad():
        trained.mix.weight.div_(255)
    path = saved(tmp_path / "t.pt", trained)
    teacher = made(tmp_path, data, model="bright", checkpoint=path, normalize=BYTES)
    assert agree(teacher, Bright())
    # Once more, from the file that was made: it tells model and normalisation itself.
    again = tmp_path / "again"
    again.mkdir()
    assert agree(made(again, data, checkpoint=tmp_path / "made" / WEIGHTS), Bright())


def test_a_file_that_holds_another_normalisation(tmp_path: Path, data: Dataset):
    path = tmp_path / "t.safetensors"
    save_weights(Bright().state_dict(), path, model="bright", normalize=BYTES)
    other = Normalization(mean=(0.5,), std=(0.5,))
    assert refused(tmp_path, data, checkpoint=path, normalize=other) == (
        f"teacher.normalize: {path} holds its own, {BYTES}; leave the key out"
    )


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (BYTES, "{mean: [0], std: [0.00392157]}"),
        (Normalization(mean=(0.5,), std=(0.5,)), "{mean: [0.5], std: [0.5]}"),
        (Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), "{mean: [0.485, 0.456, 0.406]"),
    ],
)
def test_another_pixel_range_is_told_with_the_key_that_fixes_it(
    tmp_path: Path, data: Dataset, wrong: Normalization, advice: str
):
    trained = Bright()
    with torch.no_grad():  # the same function, for images that were normalised
        std, mean = (torch.tensor(values).expand(3) for values in (wrong.std, wrong.mean))
        trained.linear.bias.add_((trained.linear.weight * mean.mean()).squeeze(1))
        trained.mix.weight.mul_(std[None, :, None, None])
    assert agree(Normalized(trained, wrong, 3, "here"), Bright())
    path = saved(tmp_path / "t.pt", trained)
    words = refused(tmp_path, data, model="bright", checkpoint=path)
    assert words.startswith(f"teacher.checkpoint: {path}: answers ")
    assert f"when they are normalised; set teacher.normalize: {advice}" in words
    assert agree(made(tmp_path, data, model="bright", checkpoint=path, normalize=wrong), Bright())


def test_a_teacher_that_guesses(tmp_path: Path, data: Dataset):
    guessing = Bright()
    with torch.no_grad():
        guessing.linear.weight.fill_(0)
    path = saved(tmp_path / "t.pt", guessing)
    words = refused(tmp_path, data, model="bright", checkpoint=path)
    assert "which is no better than guessing (" in words
    assert "see teacher.normalize" in words
    assert "classes in another order" in words


def test_a_teacher_whose_classes_stand_in_another_order(tmp_path: Path, data: Dataset):
    shuffled = Bright()
    with torch.no_grad():
        order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(0))
        shuffled.linear.weight.copy_(shuffled.linear.weight[order])
        shuffled.linear.bias.copy_(shuffled.linear.bias[order])
    words = refused(tmp_path, data, model="bright", checkpoint=saved(tmp_path / "t.pt", shuffled))
    assert "has its classes in another order: of 128 validation images 17 are answered correctly, and 128 with" in words
    assert ", ".join(map(str, order.tolist())) in words


def test_a_weak_teacher_is_the_users_choice(tmp_path: Path, data: Dataset):
    """Right on two classes of ten, and no normalisation would help."""
    weak = Bright()
    with torch.no_grad():
        weak.linear.bias[:4] -= 1e4
        weak.linear.bias[7:] -= 1e4
    made(tmp_path, data, model="bright", checkpoint=saved(tmp_path / "t.pt", weak))


def test_other_classes_and_channels_are_told_with_both_numbers(tmp_path: Path, data: Dataset):
    path = saved(tmp_path / "t.pt", Bright(classes=100))
    assert refused(tmp_path, data, model="bright", checkpoint=path) == f"{path}: has 100 classes, the data have 10"
    (tmp_path / "made").rmdir()
    path = saved(tmp_path / "t.pt", Bright(channels=1))
    assert refused(tmp_path, data, model="bright", checkpoint=path) == f"{path}: has 1 image channels, the data have 3"


def test_another_model_is_told_name_by_name(tmp_path: Path, data: Dataset):
    path = saved(tmp_path / "t.pt", nn.Linear(2, 2))
    assert "does not fit model 'bright': mix.weight [1, 3, 1, 1] is missing in the file" in refused(
        tmp_path, data, model="bright", checkpoint=path
    )


def test_a_file_that_does_not_name_its_model(tmp_path: Path, data: Dataset):
    path = saved(tmp_path / "t.pt", Bright())
    assert refused(tmp_path, data, checkpoint=path) == f"teacher.model: missing, and {path} does not name its model"


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-ran",)


def test_a_pinned_digest_is_checked_before_the_file_is_opened(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "t.pt"
    torch.save({"w": Evil()}, path)
    words = refused(tmp_path, data, model="bright", checkpoint=path, sha256="a" * 64)
    assert words == f"teacher.sha256: {path} has the digest {sha256_of(path)}, not the pinned one; it was not loaded"
    (tmp_path / "made").rmdir()
    assert "wants to run code" in refused(tmp_path, data, model="bright", checkpoint=path, sha256=sha256_of(path))
    assert not (tmp_path / "evil-ran").exists()


USERS = """
import torch
from torch import nn
from edgeproof_tests_brightness import Bright

class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.inner, self.factor = Bright(), factor
    def forward(self, x):
        return self.inner(x) * self.factor

def good(image_shape, classes):
    return Bright()

def probabilities(image_shape, classes):
    return nn.Sequential(Bright(), nn.Softmax(1))

def log_probabilities(image_shape, classes):
    return nn.Sequential(Bright(), nn.LogSoftmax(1))

def infinite(image_shape, classes):
    return Scaled(float("inf"))

def other_classes(image_shape, classes):
    return Bright(classes=12)
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "teachers_of_a_user.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    shared = ModuleType("edgeproof_tests_brightness")
    shared.Bright = Bright  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edgeproof_tests_brightness", shared)
    monkeypatch.delitem(sys.modules, "teachers_of_a_user", raising=False)
    return "teachers_of_a_user"


@pytest.mark.parametrize("function", ["good", "log_probabilities"])
def test_a_function_that_brings_its_weights(tmp_path: Path, data: Dataset, users: str, function: str):
    teacher = made(tmp_path, data, model=f"{users}:{function}", pretrained=True)
    images = torch.from_numpy(data.validation.images[:50])
    with torch.no_grad():
        assert (teacher(images).argmax(1).numpy() == data.validation.labels[:50]).all()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            "probabilities",
            "answers with probabilities (each row sums to 1), and logits are needed: leave out its softmax",
        ),
        ("infinite", "answers with numbers that are not finite"),
        ("other_classes", "must answer images [2, 3, 32, 32] with logits [2, 10], answers with [2, 12]"),
    ],
)
def test_functions_that_are_refused(tmp_path: Path, data: Dataset, users: str, function: str, words: str):
    found = refused(tmp_path, data, model=f"{users}:{function}", pretrained=True)
    assert words in found
    assert f"{users}:{function}" in found


def zoo_file(path: Path) -> Path:
    """As they come: wrapped, prefixed, and without the normalisation."""
    weights = {f"module.model.{name}": value for name, value in Bright().state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": weights, "epoch": 110}, path)
    return path


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A Google Drive that holds one file; lists what was asked of it."""
    asked: list[str] = []

    def download(*, id: str, output: str, quiet: bool) -> str:
        asked.append(id)
        zoo_file(Path(output))
        return output

    gdown = ModuleType("gdown")
    gdown.download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    return asked


def test_a_model_of_the_zoo_is_downloaded_once_and_its_digest_told(tmp_path: Path, data: Dataset, drive: list[str]):
    notices: list[str] = []
    config = TeacherConfig(robustbench="Bright2026")
    path = weight_file(config, THREAT, CLASSES, notice=notices.append)
    assert path == tmp_path / "torch" / "hub" / "robustbench" / "cifar10" / "Linf" / "Bright2026.pt"
    digest = sha256_of(path)
    assert notices == [f"teacher.robustbench: Bright2026 is not pinned; add teacher.sha256: {digest}"]
    teacher = made(tmp_path, data, robustbench="Bright2026", sha256=digest)
    assert agree(teacher, Bright())
    assert drive == ["drive-id"]
    assert read_checkpoint(tmp_path / "made" / WEIGHTS).model == "robustbench/Linf/Bright2026"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_download_that_is_not_the_pinned_one(tmp_path: Path, data: Dataset, drive: list[str]):
    assert "it was not loaded" in refused(tmp_path, data, robustbench="Bright2026", sha256="b" * 64)


def test_a_local_file_of_the_zoo_needs_no_download(tmp_path: Path, data: Dataset, drive: list[str]):
    path = zoo_file(tmp_path / "mine.pt")
    assert agree(made(tmp_path, data, robustbench="Bright2026", checkpoint=path), Bright())
    assert drive == []


def test_a_zoo_file_that_wants_to_run_code(tmp_path: Path, data: Dataset):
    torch.save({"state_dict": {"linear.weight": Evil()}}, tmp_path / "t.pt")
    assert "wants to run code" in refused(tmp_path, data, robustbench="Bright2026", checkpoint=tmp_path / "t.pt")


def test_a_download_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def download(*, id: str, output: str, quiet: bool) -> str:
        Path(output).write_text("half")
        raise OSError("no route\nto host")

    gdown = ModuleType("gdown")
    gdown.download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    with pytest.raises(
        StageError, match=r"the download failed: no route; fetch https://drive.google.com/uc\?id=drive-id"
    ):
        weight_file(TeacherConfig(robustbench="Bright2026"), THREAT, CLASSES)
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "threat", "classes", "words"),
    [
        ("Other2026", THREAT, CLASSES, "is not in RobustBench's zoo for cifar10 Linf; it is there for cifar10 L2"),
        ("Bright2026", ThreatModel(norm="L2", eps=0.5), CLASSES, "it is there for cifar10 Linf"),
        ("Bright2026", THREAT, 7, "the data have 7 classes, RobustBench's models 10 (cifar10)"),
        ("Ensemble2026", THREAT, CLASSES, "its weights are not one file of the zoo"),
    ],
)
def test_zoo_models_that_do_not_fit_the_recipe(name: str, threat: ThreatModel, classes: int, words: str):
    with pytest.raises(UsageError) as caught:
        weight_file(TeacherConfig(robustbench=name), threat, classes)
    assert words in str(caught.value)


def test_images_of_another_size_than_the_zoos(tmp_path: Path):
    path = zoo_file(tmp_path / "mine.pt")
    assert refused(tmp_path, bright_dataset((3, 8, 8)), robustbench="Bright2026", checkpoint=path) == (
        "model 'robustbench/Linf/Bright2026': takes images of 3×32×32, the data have 3×8×8"
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "model is missing"),
        ({"robustbench": "Bright2025"}, "unknown model 'Bright2025' of RobustBench's zoo; did you mean 'Bright2026'?"),
        ({"robustbench": "Bright2026", "model": "bright"}, "robustbench: names a trained model; leave out model"),
        ({"robustbench": "Bright2026", "train": {"method": "trades"}}, "leave out model, train and pretrained"),
        ({"robustbench": "Bright2026", "normalize": BYTES}, "RobustBench's models normalise inside"),
        ({"model": "bright", "pretrained": True}, "pretrained: needs a model package.module:function"),
        ({"model": "bright", "pretrained": True, "checkpoint": "t.pt"}, "leave out checkpoint and train"),
        ({"model": "bright", "sha256": "a" * 64}, "sha256: pins a file, so it needs a checkpoint or robustbench"),
        (
            {"model": "bright", "checkpoint": "t.pt", "sha256": "A" * 64},
            "Value error, must be 64 hexadecimal digits",
        ),
        ({"model": "bright", "normalize": BYTES}, "normalize: is for a checkpoint or a pretrained model"),
    ],
)
def test_configurations_that_contradict_themselves(config: dict[str, Any], words: str):
    with pytest.raises(ValidationError) as caught:
        TeacherConfig(**config)
    assert words in str(caught.value)


def test_the_real_zoo_builds_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """RobustBench's own code, where the extra is installed."""
    pytest.importorskip("gdown")
    monkeypatch.undo()
    from edgeproof.stages.models import build_model
    from edgeproof.stages.teacher.pretrained import load_pretrained

    names = robustbench.zoo_names("Linf")
    assert {"Chen2021LTD_WRN34_10", "Wang2023Better_WRN-28-10"} <= set(names)
    theirs = build_model("robustbench/Linf/Wong2020Fast", SHAPE, 10, seed=0)
    weights = {f"module.{key}": value for key, value in theirs.state_dict().items() if key not in ("mu", "sigma")}
    torch.save({"state_dict": weights}, tmp_path / "t.pt")
    found = load_pretrained("robustbench/Linf/Wong2020Fast", tmp_path / "t.pt", SHAPE, 10)
    images = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert torch.equal(found.classifier(3, "here")(images), theirs.eval()(images))
    # Ours and theirs are the same networks under the same names.
    for name, entry in (("resnet18", "Linf/Sehwag2021Proxy_R18"), ("wrn_34_10", "Linf/Sehwag2021Proxy"),
                        ("preact_resnet18_bn", "L2/Rice2020Overfitting")):  # fmt: skip
        theirs = build_model(f"robustbench/{entry}", SHAPE, 10, seed=0).eval()
        ours = build_model(name, SHAPE, 10, seed=0).eval()
        ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k not in ("mu", "sigma")})
        shifted = (images - theirs.mu) / theirs.sigma if hasattr(theirs, "mu") else images  # type: ignore[operator]
        with torch.no_grad():
            assert torch.allclose(ours(shifted), theirs(images), atol=1e-5), name
