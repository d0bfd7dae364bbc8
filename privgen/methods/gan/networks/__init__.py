"""The four networks of the method: generator, critic (discriminator), classifier, encoder.

No layer mixes records: normalisation is GroupNorm, so each record has a gradient of its own.

    >>> networks = build_networks(NetworkConfig(preset="tiny", image_shape=(1, 28, 28), classes=10, latent_dim=8))
    >>> tuple(networks.generator(torch.zeros(3, 8), torch.tensor([0, 1, 2])).shape)
    (3, 1, 28, 28)
"""

from __future__ import annotations

import torch  # noqa: F401  (the example uses it)

from privgen.methods.gan.networks.build import Networks, build_networks
from privgen.methods.gan.networks.config import PRESETS, NetworkConfig, Sizes
from privgen.methods.gan.networks.discriminators import Classifier, Critic, Encoder
from privgen.methods.gan.networks.generator import Generator, UpsamplingNoise

__all__ = [
    "PRESETS",
    "Classifier",
    "Critic",
    "Encoder",
    "Generator",
    "NetworkConfig",
    "Networks",
    "Sizes",
    "UpsamplingNoise",
    "build_networks",
]
