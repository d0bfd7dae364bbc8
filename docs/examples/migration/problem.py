"""What the three scripts beside this train on: images of a published data set, and two small networks.

`cnn` is a convolutional classifier, `patches` a transformer of two blocks over patches of four by four pixels. Neither
has a layer that mixes records, so that all three scripts train the very same network.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.data import TensorDataset

from privgen.data import load_data


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a script trains with; steps are of the expected batch."""

    learning_rate: float = 3e-3
    batch_size: int = 600
    steps: int = 500
    epsilon: float = 3.0
    delta: float = 1e-5
    clip_norm: float = 0.1
    out: str = "runs/migrated"


def data_of(name: str) -> tuple[TensorDataset, TensorDataset]:
    """Training and test records, images (1, H, W) in [−1, 1] and labels."""
    data = load_data(name)
    train, test = (
        TensorDataset(
            torch.as_tensor(split.images[:]).permute(0, 3, 1, 2).float() / 127.5 - 1,
            torch.as_tensor(split.labels).long(),
        )
        for split in (data.train, data.test)
    )
    return train, test


def network(kind: str, side: int) -> nn.Module:
    """A classifier of images (n, 1, side, side) into ten classes; side is a multiple of four."""
    if kind == "patches":
        return PatchTransformer(side)
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.Tanh(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.Tanh(),
        nn.Flatten(), nn.Linear(2 * side * side, 32), nn.Tanh(), nn.Linear(32, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Attention and two dense layers, each behind a LayerNorm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.into(self.before(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
        x = x + self.out(seen)
        return x + self.dense(self.between(x))


class PatchTransformer(nn.Module):
    """Two blocks over patches; each comes with a one-hot of its place, of which a Linear makes a learned position."""

    def __init__(self, side: int, width: int = 32) -> None:
        super().__init__()
        self.places = (side // 4) ** 2
        self.patches = nn.Linear(16 + self.places, width)
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        cut = x.unfold(2, 4, 4).unfold(3, 4, 4).reshape(len(x), self.places, 16)
        place = torch.eye(self.places, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        return self.head(self.norm(self.blocks(self.patches(torch.cat([cut, place], 2)))).mean(1))


@torch.no_grad()
def accuracy(model: nn.Module, records: TensorDataset) -> float:
    """Share of the test records that are classified rightly; the test records are public."""
    images, labels = records.tensors
    return float((torch.cat([model(part).argmax(1) for part in images.split(500)]) == labels).double().mean())
