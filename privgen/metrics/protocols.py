"""How a number is made: sample count, classifiers, resizing and cropping, test split, selection.

The name of the protocol is printed with each number and stored with it; `deviations` says where a command departs from
it. `unpublished` lists what the sources do not say, and `differs` where we differ from them: `dpac` and `dpdm` are
close to the published protocols, not equal to them.

>>> PROTOCOLS["dpac"].samples, PROTOCOLS["dpac"].recipe("cnn").about[:7]
(60000, 'LeNet-5')
>>> PROTOCOLS["dpac"].deviations(samples=10000, features="lenet")
('10000 images instead of 60000', 'features lenet instead of inception')
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from privgen.errors import EvaluationError
from privgen.metrics.classifiers import RECIPES, Recipe
from privgen.metrics.result import ProtocolRecord

DEFAULT = "privgen-1"

# Generated images, however few the real ones are.
_FEWEST = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationProtocol:
    """What is fixed before anything is measured.

    Args:
        name: printed with each number. samples: generated images. labels: how their classes are chosen.
        recipes: the first part of its classifiers' names in RECIPES. classifiers: the ones it reports.
        features: the extractor of FID and KID, or None: lenet for grey 28×28 images, pixels for others.
        inception_score: whose class probabilities the IS uses.
        resize: of the real images. split: what classifiers are tested on. selection: how a model is chosen.
        sources: where the protocol comes from. differs: where we depart from them. unpublished: what they do not say.
        refused: data sets that our loader does not prepare as the protocol requires, each with the reason.
    """

    name: str
    samples: int
    labels: str
    recipes: str
    classifiers: tuple[str, ...]
    features: str | None
    inception_score: str
    resize: str
    split: str
    selection: str
    sources: tuple[str, ...]
    differs: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def recipe(self, classifier: str) -> Recipe:
        """The recipe of cnn, mlp or logreg under this protocol."""
        return RECIPES[f"{self.recipes}-{classifier}"]

    def enough(self, real: int) -> int:
        """Generated images where no number was asked for: of few real images ten times as many say as much, sooner.

        >>> PROTOCOLS["privgen-1"].enough(60000), PROTOCOLS["privgen-1"].enough(117)
        (10000, 1170)
        """
        return min(self.samples, max(_FEWEST, 10 * real))

    def deviations(
        self, *, samples: int, features: str | None, per_class: tuple[int, int] | None = None
    ) -> tuple[str, ...]:
        """How a command departs from it, in words.

        Args:
            samples: generated images. features: the extractor used, or None: no metric needed one.
            per_class: images of the rarest and of the most frequent class, or None if the classes are not known.
        """
        found = [] if samples == self.samples else [f"{samples} images instead of {self.samples}"]
        if self.features is not None and features not in (None, self.features):
            found.append(f"features {features} instead of {self.features}")
        if per_class is not None and per_class[1] - per_class[0] > 1:
            found.append(f"{per_class[0]} to {per_class[1]} images a class instead of equally many")
        return tuple(found)

    def require(self, dataset: str) -> None:
        """Raise EvaluationError if our loader does not prepare a data set as the protocol requires."""
        for name, reason in self.refused:
            if name == dataset:
                raise EvaluationError(f"Protocol {self.name} cannot be kept on {dataset}: {reason}")

    def to_json(self) -> ProtocolRecord:
        """For a result file."""
        return {
            "name": self.name,
            "samples": self.samples,
            "labels": self.labels,
            "classifiers": {name: self.recipe(name).about for name in self.classifiers},
            "features": self.features,
            "inception_score": self.inception_score,
            "resize": self.resize,
            "split": self.split,
            "selection": self.selection,
            "sources": list(self.sources),
            "differs": list(self.differs),
            "unpublished": list(self.unpublished),
        }


_PRIVGEN = EvaluationProtocol(
    name=DEFAULT,
    samples=10_000,
    labels="balanced",
    recipes="privgen",
    classifiers=("cnn",),
    features=None,
    inception_score="a LeNet trained on the real training set",
    resize="none: as the data set is loaded (celeba: central 178×178, resized to 32×32)",
    split="test",
    selection="none: the last epoch",
    sources=("this project",),
)

# The same but for the features: a classifier of the same data is blind to texture (docs/evaluation.md).
_PRIVGEN_2 = replace(_PRIVGEN, name="privgen-2", features="imagenet")

_DPAC = EvaluationProtocol(
    name="dpac",
    samples=60_000,
    labels="balanced",
    recipes="dpac",
    classifiers=("cnn", "mlp", "logreg"),
    features="inception",
    inception_score="a classifier of ten classes trained on the real training set; 10 splits",
    resize="28×28: none; CelebA (data set celeba-resized): resized to 32×32 without a crop, class = Male",
    split="test; CelebA: valid",
    selection="none: the last epoch",
    sources=(
        "Chen, Orekondy & Fritz 2020, GS-WGAN (2006.08265)",
        "github.com/DingfanChen/GS-WGAN, evaluation/ at 8ecc559 (classifiers, IS, FID)",
    ),
    differs=(
        "the IS is by our LeNet, theirs by a VGG-11 of their own training: compare it with our own IS only",
        "FID takes 60 000 generated images; their script's default is 20 000",
    ),
    unpublished=("how DP-GAN-DPAC's authors chose among checkpoints",),
    refused=(
        (
            "celeba",
            "it resizes without a crop and tests on valid; this one is cropped to the central 178×178 and tests on "
            "test. Train on celeba-resized and give --dataset celeba-resized, or give --protocol privgen-1.",
        ),
    ),
)

_DPDM = EvaluationProtocol(
    name="dpdm",
    samples=60_000,
    labels="balanced",
    recipes="dpdm",
    classifiers=("cnn", "mlp", "logreg"),
    features="inception",
    inception_score="not part of it; ours is by a LeNet trained on the real training set",
    resize="28×28: none",
    split="test",
    selection="none: the last epoch",
    sources=(
        "Dockhorn, Cao, Vahdat & Kreis 2022, DPDM (2210.09929)",
        "github.com/nv-tlabs/DPDM, train_downstream_classifiers.py and precompute_data_mnist_fid_statistics.py "
        "at 37fbcbd",
    ),
    differs=(
        "theirs reports the test accuracy of the epoch that is best on a second set (--eval_path); ours of the last",
        "FID by torch-fidelity's port of the Inception weights of 2015-12-05, theirs by StyleGAN3's",
    ),
    unpublished=(
        "in the code: which images stood in --eval_path, and which crop prepared CelebA",
        "whether classes were balanced: its sampler draws them at random unless told otherwise",
    ),
    refused=tuple(
        (
            name,
            "its generator there has no classes, and its crop is not in the published code; give --protocol privgen-1.",
        )
        for name in ("celeba", "celeba-resized")
    ),
)

PROTOCOLS = MappingProxyType({protocol.name: protocol for protocol in (_PRIVGEN, _PRIVGEN_2, _DPAC, _DPDM)})
