"""The line cut where the privacy loss log P/Q is a multiple of half a mesh, with each cell's mass under P and under Q.

All that numerical composition needs of a pair: which masses lie between which losses. Masses are differences of the
nearer tail, each enclosed; where a loss says more about a mass than the tails do, it is used too.

    >>> from accountant.budget import Neighbouring
    >>> from accountant.events import SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0)
    >>> pair = event.dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE)
    >>> cells = LossCells.of(pair, mesh=0.5, reach=6.0)
    >>> bool(cells.p.low.sum() <= 1.0 <= cells.p.high.sum() + cells.p.below + cells.p.above)
    True
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accountant.composition.mixture_logs import mixture_logs
from accountant.composition.privacy_loss import inverse_log_ratio
from accountant.composition.rounding import CDF, CDF_PER_SQUARE, U
from accountant.errors import PrvFailure
from accountant.mixtures import Floats, Mixture, MixturePair

_MOST_CELLS = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Masses:
    """A law's mass in each cell, and outside of all.

    Args:
        low, high: (cells,), bounds on each. below, above: upper bounds on what lies left and right of the cells.
    """

    low: Floats
    high: Floats
    below: float
    above: float

    def reversed(self) -> Masses:
        """Of −x."""
        return Masses(low=self.low[::-1], high=self.high[::-1], below=self.above, above=self.below)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LossCells:
    """Cell j holds the x whose loss lies between (2·first + j)·mesh/2 and (2·first + j + 1)·mesh/2.

    Args:
        mesh: > 0. first: of the lowest node, an integer. p, q: masses of an even number of cells.
        slack: how far a loss may lie outside of its cell, because edges are rounded.
    """

    mesh: float
    first: int
    p: Masses
    q: Masses
    slack: float

    @classmethod
    def of(cls, pair: MixturePair, *, mesh: float, reach: float) -> LossCells:
        """All cells within `reach` standard deviations of the outermost components.

        Raises:
            PrvFailure: too many, or the loss could not be inverted.
        """
        means = [mean for mixture in (pair.p, pair.q) for _, mean in mixture.components]
        ends = np.array([min(means) - reach * pair.sigma, max(means) + reach * pair.sigma])
        low, high = pair.log_ratio(ends)
        first, last = math.floor(low / mesh), math.ceil(high / mesh)
        last = max(last, first + 1)
        if not last - first < _MOST_CELLS // 2:
            raise PrvFailure("a single privacy loss is too wide for its mesh")
        levels = np.arange(2 * first, 2 * last + 1) * (mesh / 2)
        x = np.maximum.accumulate(inverse_log_ratio(pair, levels))
        finite = np.isfinite(x)
        return cls(
            mesh=mesh,
            first=first,
            p=_masses(pair, pair.p, x),
            q=_masses(pair, pair.q, x),
            slack=_slack(pair, x[finite], levels[finite]),
        )

    @property
    def last(self) -> int:
        """The highest node."""
        return self.first + len(self.p.low) // 2

    def reversed(self) -> LossCells:
        """The cells of log Q/P, in which Q has P's place."""
        return LossCells(mesh=self.mesh, first=-self.last, p=self.q.reversed(), q=self.p.reversed(), slack=self.slack)


def _slack(pair: MixturePair, x: Floats, levels: Floats) -> float:
    """How far the loss at the edges can be from what it should be, rounding of this check included."""
    p, q = (mixture_logs(mixture, x, sigma=pair.sigma) for mixture in (pair.p, pair.q))
    off = np.abs(p.log - q.log - levels) + p.log_error + q.log_error
    off += 2 * U * (np.abs(p.log) + np.abs(q.log) + np.abs(levels))
    slack = float(np.max(off, initial=0.0))
    if not math.isfinite(slack):
        raise PrvFailure("the privacy loss could not be inverted")
    return slack


def _masses(pair: MixturePair, law: Mixture, x: Floats) -> Masses:
    split = int(np.searchsorted(x, sum(w * m for w, m in law.components)))
    # Each mass from the nearer tail; the cell in which they meet from the left.
    below, above = pair.cdf(law, x[: split + 1]), pair.sf(law, x[split:])
    means = [mean for _, mean in law.components]
    inside = np.clip(x, min(means) - 40 * pair.sigma, max(means) + 40 * pair.sigma)
    farthest = np.maximum(np.abs(inside - min(means)), np.abs(inside - max(means))) / pair.sigma
    # Φ's own error, that of its argument, the weights' and their sum's; underflow is below 1e-300.
    relative = U * (CDF + (CDF_PER_SQUARE + 4) * farthest**2 + 4 * len(means) + 12)
    below_off = below * relative[: split + 1] + 1e-300
    above_off = above * relative[split:] + 1e-300
    difference = np.concatenate([np.diff(below), -np.diff(above)])
    around = np.concatenate([below_off[:-1] + below_off[1:], above_off[:-1] + above_off[1:]])
    first = below[0] if len(below) else 1.0
    last = above[-1] if len(above) else 1.0
    return Masses(
        low=np.maximum(difference - around, 0.0),
        high=np.maximum(difference, 0.0) + around,
        below=float(first * (1 + relative[0]) + 1e-300),
        above=float(last * (1 + relative[-1]) + 1e-300),
    )
