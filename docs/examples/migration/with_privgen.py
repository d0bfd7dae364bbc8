"""The classifier of `plain.py`, private by privgen.

Run it: python docs/examples/migration/with_privgen.py
"""

import torch
from problem import Settings, accuracy, data_of, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from privgen import PrivateTraining


def train(model: nn.Module, records: TensorDataset, s: Settings) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=s.learning_rate)
    # fmt: off
    training = PrivateTraining(model, optimizer, records, loss=lambda m, r: cross_entropy(m(r[0][None])[0], r[1]),
        epsilon=s.epsilon, delta=s.delta, batch_size=s.batch_size, steps=s.steps, clip_norm=s.clip_norm, out=s.out)
    # fmt: on
    for _ in training:
        pass
    return model


if __name__ == "__main__":
    records, held_out = data_of("fashion-mnist")
    model = train(network("cnn", 28), records, Settings())
    print(f"accuracy {accuracy(model, held_out):.3f}")
