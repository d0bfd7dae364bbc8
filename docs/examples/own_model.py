"""A classifier of one's own under `PrivateTraining`: the five lines are marked, all else is a plain PyTorch script.

Run it: python docs/examples/own_model.py runs/mine
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from privgen import PrivateTraining  # 1


def per_record(model: nn.Module, record: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    image, label = record  # (1, 8, 8) and (): one record, no batch dimension
    return nn.functional.cross_entropy(model(image[None])[0], label)  # 2


def main(out: Path) -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)
    train, held_out = TensorDataset(images[:1500], labels[:1500]), (images[1500:], labels[1500:])
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    training = PrivateTraining(model, optimizer, train, loss=per_record, out=out,  # 3
                               epsilon=8.0, delta=1e-5, batch_size=250, steps=40)  # 4  # fmt: skip
    print(training)
    for report in training:  # 5
        if report.step % 20 == 0:
            print(f"step {report.step} of {report.planned}, charged: {report.charged}")
    print(training.outcome)
    # These held-out records are public. Private ones would not be covered: what is said of them is not charged.
    accuracy = (model(held_out[0]).argmax(1) == held_out[1]).float().mean()
    print(f"accuracy on held-out records: {accuracy:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/mine"))
