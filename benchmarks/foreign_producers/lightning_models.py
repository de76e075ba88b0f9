"""Lightning modules by their own to_onnx."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytorch_lightning as lightning
import torch
import torch.nn.functional as F
from networks import Vit, cnn
from shared import IMAGES, LABELS, produce
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(lightning.LightningModule):
    """A network with its training step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.example_input_array = torch.zeros(2, 1, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.network(x)

    def training_step(self, batch, index):
        """Cross-entropy."""
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), 3e-3)


def layer(make, path: Path, **options) -> None:
    """Train and write one."""
    lightning.seed_everything(0)
    module = Classifier(make())
    data = TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    lightning.Trainer(max_epochs=8, **quiet).fit(module, DataLoader(data, 64, shuffle=True))
    module.to_onnx(str(path), **options)


FILES = {
    "cnn_defaults": partial(layer, cnn),
    "vit_dynamo": partial(layer, Vit, dynamo=True, dynamic_shapes=({0: torch.export.Dim("N")},)),
}

produce(FILES)
