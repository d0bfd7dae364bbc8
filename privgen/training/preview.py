"""Samples of a run while it trains, as its release would have them now.

Guarantees: made by `Learner.save` from what it would release, through the release's own sampler and its own random
numbers: post-processing of noised values, which no record's draw and no privacy noise has a part in.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from privgen.training.session import Session

_SAMPLES = "samples.png"


def sample_grid(session: Session) -> bytes | None:
    """A PNG grid of samples, one column a class; None where the method makes no images."""
    with TemporaryDirectory(prefix="privgen-") as folder:
        if _SAMPLES not in session.state.learner.save(Path(folder), session.data.facts.class_names):
            return None
        return (Path(folder) / _SAMPLES).read_bytes()
