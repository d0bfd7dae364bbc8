"""`WarmStart`: statistics of each class, released before the first gradient step, that a generator may begin from.

Every release sees all records once (sampling rate 1) and sums one vector or one matrix a record:

    means        u = (x, s)          Σ u of each class                     sensitivity C
    components   u = (x − m, s)      Σ u uᵀ of all, m its class's mean     sensitivity C², in Frobenius norm
    clusters     u = (x − c, s)      Σ u of each class and centre c        sensitivity C, `rounds` times
    covariances  u = (x − c, s)      Σ u uᵀ of each class and centre       sensitivity C², in Frobenius norm

with u scaled down to ‖u‖ ≤ C and s = C/4 a constant that counts. With components, x is afterwards seen in the leading
directions of their matrix; without, in fixed cosine frequencies alone. A record is in one class and near one centre,
which earlier releases fix, so it enters one block of a sum alone; the covariance of a class is the sum of its clusters'
blocks and costs nothing more. Each release is a Gaussian mechanism of its own noise
multiplier; composed adaptively they are one of 1/z² = Σ 1/z_i² (Dong, Roth & Su 2022, arXiv 1905.02383, Corollary 3.3).

    >>> start = WarmStart(rounds=3, clip_norm=0.5, centred_clip_norm=0.25, mean_noise_multiplier=10.0,
    ...                   cluster_noise_multiplier=8.0, covariance_noise_multiplier=2.0)
    >>> [release.kind for release in start.releases()]
    ['means', 'clusters', 'clusters', 'clusters', 'covariances']
    >>> start.release_at(4).sensitivity
    0.0625
    >>> round(start.noise_multiplier, 4)
    1.8052
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

from accountant.errors import InvalidValue
from accountant.events import SubsampledGaussian, joint_noise_multiplier, require_count, require_noise_multiplier
from accountant.json_reader import JsonObject
from accountant.scalars import is_number, keep_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmRelease:
    """One release of statistics.

    Args:
        kind: means, components, clusters or covariances. clip_norm: C, L2 bound on one record's vector.
        sensitivity: L2 bound on what one record adds to the released sums. noise_multiplier: z, of that, > 0.
    """

    kind: str
    clip_norm: float
    sensitivity: float
    noise_multiplier: float

    @property
    def event(self) -> SubsampledGaussian:
        """What is charged: a Gaussian release that every record is in."""
        return SubsampledGaussian(sampling_rate=1.0, noise_multiplier=self.noise_multiplier)


class _Always(TypedDict):
    rounds: int
    clip_norm: float
    centred_clip_norm: float
    mean_noise_multiplier: float
    cluster_noise_multiplier: float
    covariance_noise_multiplier: float


class WarmStartJson(_Always, total=False):
    """A warm start as JSON. What came later may be missing from a file."""

    spare_releases: int
    components: int
    component_noise_multiplier: float
    margin: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStart:
    """The releases of a warm start, in the order in which they are made.

    Args:
        rounds: of clustering within each class, integer >= 0.
        clip_norm: C of the means, in root mean squares of pixels in [0, 1], > 0.
        centred_clip_norm: C of what is centred first, > 0.
        mean_noise_multiplier, cluster_noise_multiplier, covariance_noise_multiplier: z of each release, > 0.
        spare_releases: that a crash may waste, charged as the dearest of them; >= 0. With none, a crash ends the run.
        components: leading directions of the pooled matrix in which records are seen, >= 0; 0 releases no such matrix.
        component_noise_multiplier: z of that release, > 0; 0 where there are no components.
        margin: in [0, 1], how far below black a black pixel counts where its neighbours are black too; 0 leaves
            images as they are. A fixed function of one image.

    Raises:
        InvalidValue: a value is out of range.
    """

    rounds: int
    clip_norm: float
    centred_clip_norm: float
    mean_noise_multiplier: float
    cluster_noise_multiplier: float
    covariance_noise_multiplier: float
    spare_releases: int = 0
    components: int = 0
    component_noise_multiplier: float = 0.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        keep_plain(self)
        require_count(self.rounds, "warm_start.rounds", least=0)
        require_count(self.spare_releases, "warm_start.spare_releases", least=0)
        for name in ("clip_norm", "centred_clip_norm"):
            value = getattr(self, name)
            if not (is_number(value) and math.isfinite(value) and value > 0):
                raise InvalidValue(f"Expected warm_start.{name}={value!r} to be finite and > 0.")
        for name in ("mean_noise_multiplier", "cluster_noise_multiplier", "covariance_noise_multiplier"):
            require_noise_multiplier(getattr(self, name), f"warm_start.{name}")
        require_count(self.components, "warm_start.components", least=0)
        if self.components:
            require_noise_multiplier(self.component_noise_multiplier, "warm_start.component_noise_multiplier")
        elif self.component_noise_multiplier != 0:
            raise InvalidValue(
                f"Expected warm_start.component_noise_multiplier={self.component_noise_multiplier!r} to be 0 without "
                "components."
            )
        if not (is_number(self.margin) and 0 <= self.margin <= 1):
            raise InvalidValue(f"Expected warm_start.margin={self.margin!r} in [0, 1].")

    def releases(self) -> tuple[WarmRelease, ...]:
        """All of them, in order."""
        c, own = self.clip_norm, self.centred_clip_norm
        means = WarmRelease(kind="means", clip_norm=c, sensitivity=c, noise_multiplier=self.mean_noise_multiplier)
        clusters = WarmRelease(
            kind="clusters", clip_norm=own, sensitivity=own, noise_multiplier=self.cluster_noise_multiplier
        )
        covariances = WarmRelease(
            kind="covariances", clip_norm=own, sensitivity=own * own, noise_multiplier=self.covariance_noise_multiplier
        )
        components = (
            WarmRelease(
                kind="components",
                clip_norm=own,
                sensitivity=own * own,
                noise_multiplier=self.component_noise_multiplier,
            )
            if self.components
            else None
        )
        return (means, *((components,) if components else ()), *(clusters,) * self.rounds, covariances)

    def charges(self) -> tuple[tuple[SubsampledGaussian, int], ...]:
        """(event, how often) of all that may ever be charged: each release, and the spare ones."""
        own = tuple((release.event, 1) for release in self.releases())
        dearest = min((event for event, _ in own), key=lambda event: event.noise_multiplier)
        return (*own, *(((dearest, self.spare_releases),) if self.spare_releases else ()))

    @property
    def steps(self) -> int:
        """How many releases there are."""
        return self.rounds + 2 + (self.components > 0)

    def release_at(self, step: int) -> WarmRelease:
        """The release that is step number `step`, from 0."""
        return self.releases()[step]

    @property
    def noise_multiplier(self) -> float:
        """z of all of them together, spare ones not counted."""
        return joint_noise_multiplier(*(release.noise_multiplier for release in self.releases()))

    def to_json(self) -> WarmStartJson:
        """A JSON object; `from_json` is its inverse. Without components and margin it is as before these."""
        written: WarmStartJson = {
            "rounds": self.rounds,
            "clip_norm": self.clip_norm,
            "centred_clip_norm": self.centred_clip_norm,
            "mean_noise_multiplier": self.mean_noise_multiplier,
            "cluster_noise_multiplier": self.cluster_noise_multiplier,
            "covariance_noise_multiplier": self.covariance_noise_multiplier,
            "spare_releases": self.spare_releases,
        }
        if self.components:
            written["components"] = self.components
            written["component_noise_multiplier"] = self.component_noise_multiplier
        if self.margin:
            written["margin"] = self.margin
        return written

    @classmethod
    def from_json(cls, read: JsonObject) -> WarmStart:
        """The warm start that `to_json` wrote."""
        read.require_fields(WarmStartJson.__required_keys__, optional=WarmStartJson.__optional_keys__)
        return cls(
            rounds=read.integer("rounds"),
            clip_norm=read.number("clip_norm"),
            centred_clip_norm=read.number("centred_clip_norm"),
            mean_noise_multiplier=read.number("mean_noise_multiplier"),
            cluster_noise_multiplier=read.number("cluster_noise_multiplier"),
            covariance_noise_multiplier=read.number("covariance_noise_multiplier"),
            spare_releases=read.integer("spare_releases", least=0) if "spare_releases" in read else 0,
            components=read.integer("components", least=1) if "components" in read else 0,
            component_noise_multiplier=(
                read.number("component_noise_multiplier") if "component_noise_multiplier" in read else 0.0
            ),
            margin=read.number("margin") if "margin" in read else 0.0,
        )
