"""The accuracy of a released classifier on real test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from accountant.canonical_json import parse_object
from privgen.data import ImageData
from privgen.data.batches import to_tensor
from privgen.errors import RunError
from privgen.methods.dp_classifier.method import ABOUT, WEIGHTS
from privgen.methods.gan.networks import Classifier, NetworkConfig

_BATCH = 500


@torch.no_grad()
def accuracy_of(run: Path, test: ImageData) -> float:
    """The share of test images that the released classifier gets right.

    Raises:
        RunError: its files are damaged, or it is of other images.
    """
    release = run / "release"
    try:
        about: dict[str, Any] = parse_object((release / ABOUT).read_bytes())
        classifier = Classifier(NetworkConfig.from_json(about["network"]))
        classifier.load_state_dict(load((release / WEIGHTS).read_bytes()))
        classifier.eval()
        right = 0
        for at in range(0, len(test.labels), _BATCH):
            images = to_tensor(test.images[at : at + _BATCH], torch.device("cpu"))
            labels = torch.from_numpy(test.labels[at : at + _BATCH])
            right += int((classifier(images).argmax(1) == labels).sum())
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunError(f"The classifier in {release} is damaged, or of other images ({error}); train again.") from error
    return right / len(test.labels)
