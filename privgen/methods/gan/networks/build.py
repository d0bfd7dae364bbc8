"""All four networks together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from privgen.methods.gan.networks.config import NetworkConfig
from privgen.methods.gan.networks.discriminators import Classifier, Critic, Encoder
from privgen.methods.gan.networks.generator import Generator


@dataclass(frozen=True, slots=True)
class Networks:
    """The four networks and what they were built from."""

    config: NetworkConfig
    generator: Generator
    critic: Critic
    classifier: Classifier
    encoder: Encoder

    def to(self, device: torch.device) -> Networks:
        """Move them all."""
        for module in (self.generator, self.critic, self.classifier, self.encoder):
            module.to(device)
        return self


def build_networks(config: NetworkConfig) -> Networks:
    """Freshly initialised networks, from torch's current random state."""
    return Networks(config, Generator(config), Critic(config), Classifier(config), Encoder(config))
