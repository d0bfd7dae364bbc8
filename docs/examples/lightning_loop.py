"""A private training driven by Lightning: its trainer asks for the steps, and has its callbacks, loggers and hooks.

A `PrivateTraining` is what Lightning takes for a data loader: each of its batches is the report of a private step that
was taken. Lightning itself optimises nothing. It asks for one step ahead; each was charged before it was taken all
the same.

Run it: python docs/examples/lightning_loop.py runs/lightning          (pip install pytorch-lightning)
"""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from privgen import PrivateTraining
from privgen.training.loop import StepReport


class Watched(lightning.LightningModule):
    """The model, and what is said of each step."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.automatic_optimization = model, False

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # a report is no tensor

    def training_step(self, report: StepReport, batch_idx: int) -> None:
        self.log("private_step", float(report.step), batch_size=1)

    def configure_optimizers(self) -> None:
        return None


def main(out: Path) -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    training = PrivateTraining(
        model,
        torch.optim.Adam(model.parameters(), lr=0.02),
        TensorDataset(images[:1500], labels[:1500]),
        loss=lambda model, record: nn.functional.cross_entropy(model(record[0]), record[1]),
        epsilon=8.0,
        delta=1e-5,
        batch_size=250,
        steps=20,
        out=out,
    )
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Watched(model), train_dataloaders=training)
    print(f"last step {trainer.callback_metrics['private_step']:.0f}: {training.outcome}")
    # These held-out records are public.
    accuracy = (model(images[1500:]).argmax(1) == labels[1500:]).float().mean()
    print(f"accuracy on held-out records: {accuracy:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/lightning"))
