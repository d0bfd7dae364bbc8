"""The classifier of `plain.py`, private by Opacus.

Run it: python docs/examples/migration/with_opacus.py
"""

import torch
from opacus import PrivacyEngine
from problem import Settings, accuracy, data_of, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset


def train(model: nn.Module, records: TensorDataset, s: Settings) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=s.learning_rate)
    loader = torch.utils.data.DataLoader(records, batch_size=s.batch_size)
    engine = PrivacyEngine()
    epochs = s.steps * s.batch_size // len(records)
    private, optimizer, loader = engine.make_private_with_epsilon(
        module=model,
        optimizer=optimizer,
        data_loader=loader,
        target_epsilon=s.epsilon,
        target_delta=s.delta,
        epochs=epochs,
        max_grad_norm=s.clip_norm,
    )
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(private(x), y).backward()
            optimizer.step()
    print(f"ε = {engine.get_epsilon(s.delta):.3f}")
    return model


if __name__ == "__main__":
    records, held_out = data_of("fashion-mnist")
    model = train(network("cnn", 28), records, Settings())
    print(f"accuracy {accuracy(model, held_out):.3f}")
