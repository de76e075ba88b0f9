"""Whom `benchmarks/methods.py` compares, and the conditions that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One row of the table: settings that differ from the preset's.

    Attributes:
        name: of its folder.
        label: in the table.
        settings: keys of TrainConfig.
        seeds: how many students.
    """

    name: str
    label: str
    settings: dict[str, Any]
    seeds: int = 1


@dataclass(frozen=True)
class Preset:
    """The conditions that all contenders share.

    Attributes:
        data: keys of DataConfig.
        threat: keys of ThreatModel.
        teacher: the teachers' model.
        student: everybody's model.
        teacher_training: keys of TrainConfig.
        natural_training: the same, of the second teacher that MTARD asks.
        common: keys of TrainConfig, where a contender does not say otherwise.
        samples: test images that are attacked.
        recommended: keys of TrainConfig that differ from `common`; empty until `--search` has chosen them.
    """

    data: dict[str, Any]
    threat: dict[str, Any]
    teacher: str
    student: str
    teacher_training: dict[str, Any]
    natural_training: dict[str, Any]
    common: dict[str, Any]
    samples: int
    recommended: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "cpu": Preset(
        data={"dataset": "fashion_mnist", "train": 10_000, "validation": 1_000},
        threat={"norm": "Linf", "eps": 0.1},
        teacher="cnn28_wide",
        student="cnn28_small",
        teacher_training={"method": "pgd_at", "epochs": 16, "augment": ["flip"]},
        natural_training={"method": "standard", "epochs": 12, "augment": [{"shift": 2}, "flip"]},
        common={"epochs": 8, "batch_size": 128, "learning_rate": 0.1, "precision": "bf16-mixed", "augment": ["flip"]},
        samples=500,
        recommended={"method": "adaad", "batch_size": 64},
    ),
    "gpu": Preset(
        data={"dataset": "cifar10", "validation": 1_000},
        threat={"norm": "Linf", "eps": "8/255"},
        teacher="wrn_16_4",
        student="resnet18",
        teacher_training={"method": "trades", "epochs": 30, "batch_size": 256, "augment": ["shift", "flip"]},
        natural_training={"method": "standard", "epochs": 20, "batch_size": 256, "augment": ["shift", "flip"]},
        common={
            "epochs": 30,
            "batch_size": 256,
            "learning_rate": 0.1,
            "precision": "bf16-mixed",
            "augment": ["shift", "flip"],
        },
        samples=1_000,
    ),
}

CONTENDERS = (
    Contender("pgd_at", "PGD-AT", {"method": "pgd_at"}, seeds=3),
    Contender("trades", "TRADES", {"method": "trades"}, seeds=3),
    Contender("mart", "MART", {"method": "mart"}),
    Contender("ard", "ARD", {"method": "ard"}),
    Contender("akd2", "AKD²", {"method": "akd2"}),
    Contender("iad", "IAD-I", {"method": "iad"}),
    Contender("iad2", "IAD-II", {"method": "iad2"}),
    Contender("rslad", "RSLAD", {"method": "rslad"}),
    Contender("adaad", "AdaAD", {"method": "adaad"}, seeds=3),
    Contender("adaiad", "AdaIAD", {"method": "adaiad"}),
    Contender("mtard", "MTARD", {"method": "mtard"}),
    Contender("bmtard", "B-MTARD", {"method": "mtard", "options": {"balance_entropy": True}}),
    Contender("peeraid", "PeerAiD", {"method": "peeraid"}),
    Contender("dgad", "DGAD", {"method": "dgad"}),
    Contender("igdm", "AdaAD + IGDM", {"method": "igdm"}),
    Contender("saad", "SAAD", {"method": "saad"}),
    Contender("cgard", "CGARD (our reading)", {"method": "cgard"}),
    Contender("fair_rslad", "Fair-RSLAD", {"method": "rslad", "plugins": ["fair"]}),
    Contender("absld", "ABSLD (RSLAD)", {"method": "rslad", "plugins": ["absld"]}),
    Contender("mmard_rslad", "RSLAD + MMARD-style", {"method": "rslad", "plugins": ["mmard"]}),
    Contender(
        "mmard_inner", "AdaAD + MMARD-style, inner half", {"method": "adaad", "plugins": [{"mmard": {"outer": False}}]}
    ),
    Contender(
        "mmard_outer", "AdaAD + MMARD-style, outer half", {"method": "adaad", "plugins": [{"mmard": {"inner": False}}]}
    ),
    Contender("mmard", "AdaAD + MMARD-style", {"method": "adaad", "plugins": ["mmard"]}),
)


# What the recommended recipe is looked for among, beside all contenders; `--search` ranks them without a look at the
# test images.
VARIANTS = tuple(
    Contender(name, name, settings)
    for name, settings in {
        "adaad_batch_64": {"method": "adaad", "batch_size": 64},
        "adaad_mmard_outer_batch_64": {"method": "adaad", "batch_size": 64, "plugins": [{"mmard": {"inner": False}}]},
        # On RSLAD, whose attack asks no teacher at every step: what helps there is tried on AdaAD.
        "rslad_batch_64": {"method": "rslad", "batch_size": 64},
        "rslad_batch_32": {"method": "rslad", "batch_size": 32, "learning_rate": 0.05},
        "rslad_decay_1e-4": {"method": "rslad", "weight_decay": 1e-4},
        "rslad_rate_02": {"method": "rslad", "learning_rate": 0.2},
        "rslad_igdm": {"method": "rslad", "plugins": ["igdm"]},
        "rslad_mmard_outer": {"method": "rslad", "plugins": [{"mmard": {"inner": False}}]},
        "rslad_decay_1e-3": {"method": "rslad", "weight_decay": 1e-3},
        "rslad_batch_64_rate_005": {"method": "rslad", "batch_size": 64, "learning_rate": 0.05},
        "adaad_batch_32_rate_005": {"method": "adaad", "batch_size": 32, "learning_rate": 0.05},
        "rslad_ema": {"method": "rslad", "average": {"kind": "ema", "start": 0.5}},
    }.items()
)


def contenders(preset: Preset) -> list[Contender]:
    """The methods, and the preset's recommended recipe."""
    extra = [Contender("recommended", "recommended", preset.recommended, seeds=3)] if preset.recommended else []
    return [*CONTENDERS, *extra]
