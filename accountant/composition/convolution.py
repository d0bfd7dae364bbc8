"""Numerical composition of privacy losses: laws on a grid, convolved by Fourier transforms.

The algorithm is that of Gopi, Lee & Wutschitz 2021 (arXiv 2106.02848, algorithm 1): each law is given to the nodes of a
grid, cell by cell, and the grid is moved so that the mean stays; the composition is a circular convolution; ε is read
off the privacy profile Σ_{t > ε} p(t) (1 − e^(ε−t)). Their package prv-accountant does the same; this one looks only at
cells where a law has mass, takes masses from the nearer tail, and multiplies all transforms before one inverse. What
the answer is worth is theorem 6 in docs/privacy.md; the tests hold it to prv-accountant's.

    >>> from accountant.budget import Neighbouring
    >>> from accountant.events import SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=2.0)
    >>> pair = event.dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE)
    >>> grid = Grid.covering(reach=12.0, mesh=1e-3)
    >>> composed = compose([(discretise(PrivacyLoss(pair, forward=True), grid), 4)], grid)
    >>> round(composed.epsilons([1e-5], least=0.0)[0], 3)  # REFERENCE row 16: four steps at σ = 2 are one at σ = 1
    4.377
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from accountant.composition.privacy_loss import PrivacyLoss
from accountant.errors import PrvFailure
from accountant.mixtures import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Nodes k · mesh for −half < k <= half.

    Args:
        mesh: distance of the nodes, > 0. half: half their number, >= 1.
    """

    mesh: float
    half: int

    @classmethod
    def covering(cls, *, reach: float, mesh: float) -> Grid:
        """A grid that covers [−reach, reach], of a size that transforms fast."""
        from scipy.fft import next_fast_len

        return cls(mesh=mesh, half=next_fast_len(math.ceil(reach / mesh) + 2, real=True))

    @property
    def low(self) -> float:
        """Lower end of the lowest cell."""
        return (0.5 - self.half) * self.mesh

    @property
    def high(self) -> float:
        """Upper end of the highest cell."""
        return (0.5 + self.half) * self.mesh


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Discrete:
    """A law on a moved grid: mass `masses[j]` at (first + j) · mesh + shift.

    Args:
        masses: (n,), >= 0, sum 1. first: k of the first. shift: less than half a mesh.
    """

    masses: Floats
    first: int
    shift: float


def discretise(loss: PrivacyLoss, grid: Grid) -> Discrete:
    """The law of a privacy loss, given that it lies on the grid, each cell's mass at its node, with the mean kept.

    Raises:
        PrvFailure: masses or mean are off by more than the mesh allows.
    """
    lowest, highest = loss.support()
    first = max(1 - grid.half, math.floor(max(lowest, grid.low) / grid.mesh) - 1)
    last = max(first, min(grid.half, math.ceil(min(highest, grid.high) / grid.mesh) + 1))
    edges = np.asarray((np.arange(first, last + 2) - 0.5) * grid.mesh, dtype=np.float64)
    # The outermost cells take what is left: less than 1e-21 (`support`).
    edges[0], edges[-1] = grid.low, grid.high
    masses = loss.masses(edges)
    total = float(masses.sum())
    if not (math.isfinite(total) and total > 0):
        raise PrvFailure(f"the privacy loss has mass {total} on the grid")
    masses /= total
    mean = loss.mean_between(grid.low, grid.high) / total
    shift = mean - grid.mesh * float(np.dot(np.arange(first, last + 1), masses))
    if not abs(shift) < grid.mesh / 2:
        raise PrvFailure(f"the discrete mean is off by {shift:g}, more than half of the mesh {grid.mesh:g}")
    return Discrete(masses=masses, first=first, shift=shift)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Composed:
    """The law of a sum on a moved grid: mass `masses[k]` at k · mesh + shift, k taken modulo the size.

    Args:
        masses: (2 · half,), sum close to 1; a few may be below 0 by rounding.
    """

    masses: Floats
    grid: Grid
    shift: float

    def epsilons(self, deltas: Iterable[float], *, least: float) -> list[float]:
        """For each δ > 0 the ε >= least at which the profile is δ: `least` where it is lower there already.

        ∞ where the profile never gets so low.
        """
        deltas = tuple(deltas)
        nodes, masses = self._from(least)
        above = np.cumsum(masses[::-1])[::-1]
        # above(ε + 1) · (1 − 1/e) <= δ(ε) <= above(ε): only nodes where that leaves room for a δ are looked at, and
        # exponentials are taken from the first of them, so that they neither over- nor underflow.
        start = max(0, int(np.argmax(above <= 2 * max(deltas))) - math.ceil(1 / self.grid.mesh) - 1)
        stop = min(len(nodes), int(np.searchsorted(-above, -min(deltas), side="right")) + 2)
        away = nodes[start:] - nodes[start]
        weighted = np.cumsum((masses[start:] * np.exp(-away))[::-1])[::-1][: stop - start]
        above = above[start:stop]
        with np.errstate(over="ignore", invalid="ignore"):
            # −δ(ε) at each node: it rises, but for rounding.
            profile = np.exp(away[: stop - start]) * weighted - above
        found = []
        for delta in deltas:
            index = int(np.searchsorted(profile, -delta, side="left"))
            if index == 0:
                found.append(max(least, float(nodes[start])))
            elif index < len(profile) and above[index] > delta and weighted[index] > 0:
                moved = math.log(above[index] - delta) - math.log(weighted[index])
                found.append(max(least, float(nodes[start]) + moved))
            else:
                found.append(math.inf)
        return found

    def delta(self, epsilon: float) -> float:
        """The profile at ε."""
        nodes, masses = self._from(epsilon)
        inside = nodes >= epsilon
        return float(np.dot(masses[inside], -np.expm1(epsilon - nodes[inside])))

    def _from(self, least: float) -> tuple[Floats, Floats]:
        """The nodes from just below `least` up, in order, and their masses."""
        first = math.floor((least - self.shift) / self.grid.mesh) - 1
        k = np.arange(min(max(1 - self.grid.half, first), self.grid.half), self.grid.half + 1)
        return np.asarray(k * self.grid.mesh + self.shift, dtype=np.float64), self.masses[k]


def compose(parts: Iterable[tuple[Discrete, int]], grid: Grid) -> Composed:
    """The sum of independent losses, each law taken so many times; circular on the grid.

    Raises:
        PrvFailure: the result is no distribution.
    """
    from scipy.fft import irfft, rfft

    size = 2 * grid.half
    transform, shift = None, 0.0
    for law, count in parts:
        masses = np.zeros(size)
        masses[np.arange(law.first, law.first + len(law.masses)) % size] = law.masses
        factor = _power(rfft(masses), count)
        transform = factor if transform is None else np.multiply(transform, factor, out=factor)
        shift += count * law.shift
    total = np.asarray(irfft(transform, size), dtype=np.float64)
    if not np.isfinite(total).all() or abs(float(total.sum()) - 1) > 1e-3:
        raise PrvFailure("the composed distribution does not sum to one")
    return Composed(masses=total, grid=grid, shift=shift)


def _power(base: np.ndarray, exponent: int) -> np.ndarray:
    """base ** exponent by repeated squaring; the relative error is that many times a product's. Uses up `base`."""
    result = None
    while True:
        if exponent & 1:
            result = base.copy() if result is None else np.multiply(result, base, out=result)
        exponent >>= 1
        if not exponent:
            assert result is not None
            return result
        np.multiply(base, base, out=base)
