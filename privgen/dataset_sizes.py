"""The published data sets, and what is publicly known of each: N of what is trained on, and its facts. Loads nothing.

>>> PUBLISHED["celeba"].shape, DATASET_SIZES["celeba"]
((32, 32, 3), 162770)
"""

from __future__ import annotations

from pathlib import Path

from accountant.plans.public_facts import PublicFacts

DATASET_SIZES: dict[str, int] = {
    "digits": 1437,
    "mnist-5k": 4000,
    "mnist": 60000,
    "fashion-mnist": 60000,
    "celeba": 162770,
    "celeba-resized": 162770,
}

_DIGITS = tuple(str(digit) for digit in range(10))
_FASHION = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

PUBLISHED: dict[str, PublicFacts] = {
    **{name: PublicFacts(name=name, classes=_DIGITS, shape=(28, 28, 1)) for name in ("digits", "mnist-5k", "mnist")},
    "fashion-mnist": PublicFacts(name="fashion-mnist", classes=_FASHION, shape=(28, 28, 1)),
    **{
        name: PublicFacts(name=name, classes=("not male", "male"), shape=(32, 32, 3))
        for name in ("celeba", "celeba-resized")
    },
}

# How one's own data are named.
OWN = ("image-folder:PATH", "npz:PATH", "manifest:FILE", "torchvision:NAME")
_KINDS = tuple(form.partition(":")[0] for form in OWN)


def is_own(name: str) -> bool:
    """Whether a name, as `source_name` gives it, is of one's own data."""
    return name.partition(":")[0] in _KINDS and ":" in name


def source_name(name: str) -> str:
    """The name by which a data set is loaded: as it is, or for a path with its kind before it.

    >>> source_name("digits"), source_name("npz:scans.npz")
    ('digits', 'npz:scans.npz')
    """
    if name in PUBLISHED or is_own(name):
        return name
    path = Path(name).expanduser()
    if path.is_dir():
        return f"image-folder:{name}"
    kinds = {".npz": "npz", ".csv": "manifest", ".parquet": "manifest"}
    return f"{kinds[path.suffix.lower()]}:{name}" if path.suffix.lower() in kinds else name
