"""A classifier in plain PyTorch. `with_opacus.py` and `with_privgen.py` are this script, made private.

Run it: python docs/examples/migration/plain.py
"""

import torch
from problem import Settings, accuracy, data_of, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset


def train(model: nn.Module, records: TensorDataset, s: Settings) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=s.learning_rate)
    loader = torch.utils.data.DataLoader(records, batch_size=s.batch_size, shuffle=True)
    for _ in range(s.steps * s.batch_size // len(records)):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


if __name__ == "__main__":
    records, held_out = data_of("fashion-mnist")
    model = train(network("cnn", 28), records, Settings())
    print(f"accuracy {accuracy(model, held_out):.3f}")
