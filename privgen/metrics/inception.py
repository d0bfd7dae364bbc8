"""torch-fidelity's Inception-v3: the features of published FIDs, and the class probabilities of published scores.

Nothing is ever downloaded. The weights are a file that is given, or found in torch-fidelity's cache.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privgen.errors import EvaluationError

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"


class Inception:
    """torch-fidelity's Inception-v3 (weights of 2015-12-05): 2048 features, and 1 008 outputs for the IS.

    Args:
        weights: the file; see `find_inception`. device: None is the CPU.

    Raises:
        EvaluationError: torch-fidelity is not installed, or the file is not Inception's weights.
    """

    name = "inception"

    def __init__(self, weights: Path, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._network = _load_inception(weights).to(self._device)
        self.identity = f"inception/{hashlib.sha256(weights.read_bytes()).hexdigest()}"

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 2048): the last average pooling, on images resized to 299×299 as TensorFlow 1 did."""
        return self._run(images)[0].numpy()

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n, 1008): outputs without the last bias, as in the published score."""
        return self._run(images)[1].double().softmax(1).numpy()

    @torch.no_grad()
    def _run(self, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        rows = []
        for at in range(0, len(images), 50):
            chunk = torch.tensor(images[at : at + 50]).permute(0, 3, 1, 2)  # (n, C, H, W)
            pooled, outputs = self._network(chunk.expand(-1, 3, -1, -1).to(self._device))
            rows.append((pooled.float().cpu(), outputs.float().cpu()))
        return torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows])


def find_inception(given: Path | None) -> Path:
    """Inception's weight file: the one given, or the one in torch-fidelity's cache.

    Raises:
        EvaluationError: there is none; the message names the file and how to give it.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    path = given or cached
    if not path.is_file():
        raise EvaluationError(
            f"Inception's weights were not found at {path}, and nothing is downloaded. Get {INCEPTION_FILE} from "
            f"{INCEPTION_URL} and give it by --inception-weights FILE, or put it at {cached}; or compare by other "
            "features: --features imagenet, lenet (grey 28×28) or pixels."
        )
    return path


def _load_inception(weights: Path) -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise EvaluationError(
            "--features inception needs torch-fidelity; install it by: pip install 'privgen[inception]'."
        ) from error
    try:
        # torch-fidelity unpickles whatever the file holds; this refuses everything but tensors before it does.
        torch.load(weights, weights_only=True, map_location="cpu")
        return FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
        )
    except (OSError, RuntimeError, EOFError, KeyError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        raise EvaluationError(
            f"{weights} does not hold Inception's weights ({' '.join(str(error).split())[:120]}); expected "
            f"{INCEPTION_FILE} from {INCEPTION_URL}."
        ) from error
