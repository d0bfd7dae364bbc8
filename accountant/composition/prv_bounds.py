"""ε and δ of a composition, from above and from below, by numerical composition of privacy losses.

For each direction of the pairs two laws stand beside each loss (`accountant.composition.discretise`): the costlier one
gives the upper bound, the cheaper one the lower. Tilt, window and mesh are chosen from the Rényi curve and are never
trusted: whatever they are, the bounds hold, and where they come out wide the mesh is halved.

Source: docs/privacy.md, theorem 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from accountant.composition.convolution import Tilted, convolve, log_moment, tilt
from accountant.composition.discretise import Law, cheaper, costlier
from accountant.composition.loss_cells import LossCells
from accountant.composition.profile import TiltedSum
from accountant.composition.rounding import U
from accountant.composition.scales import Scales
from accountant.mixtures import MixturePair

Charges = tuple[tuple[MixturePair, int], ...]
LARGEST_SIZE, _SMALLEST_SIZE = 1 << 21, 1 << 10
# From so many different charges on, the mesh may be 2^0.2 times as coarse as was asked for.
_MANY, _COARSER = 32, 0.2
# Chances, under the tilt, that the cheaper law's moves add up to less than is allowed for: e^(−this). The larger serves
# where the tilt is right, the smaller where it is not.
_UNLIKELY = (12.0, 30.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Composition:
    """A composition cut into cells, one list for each direction that can cost more than the other.

    Args:
        ways: (cells, count) of each charge. scales: that were used. size: of the window, in nodes.
    """

    ways: tuple[tuple[tuple[LossCells, int], ...], ...]
    scales: Scales
    size: int

    @classmethod
    def of(cls, charges: Charges, scales: Scales) -> Composition:
        """Cells of every charge, on one mesh.

        Raises:
            PrvFailure: a loss is too wide for the mesh, or could not be inverted.
        """
        wanted = 2 * scales.window / scales.mesh
        # Of many different charges every node takes time: rather a seventh coarser than twice as many.
        coarser = _COARSER if len(charges) >= _MANY else 0.0
        size = min(LARGEST_SIZE, max(_SMALLEST_SIZE, 1 << math.ceil(math.log2(wanted) - coarser)))
        # As fine as the window's nodes allow.
        mesh = max(2 * scales.window / size, scales.mesh / 2)
        scales = replace(scales, mesh=mesh)
        cells = tuple((LossCells.of(pair, mesh=mesh, reach=scales.reach), count) for pair, count in charges)
        ways = [cells]
        if not all(pair.symmetric for pair, _ in charges):
            ways.append(tuple((one.reversed(), count) for one, count in cells))
        return cls(ways=tuple(ways), scales=scales, size=size)

    def above(self, way: int) -> TiltedSum:
        """From above, in one direction: every mass with its largest error; what is past the window in full.

        Raises:
            PrvFailure: the result is not finite.
        """
        return _summed([(costlier(one), count) for one, count in self.ways[way]], self.scales, self.size)

    def below(self, way: int) -> tuple[list[TiltedSum], float]:
        """From below, in one direction, at several chances, and the shift that is likely (for an estimate).

        Raises:
            PrvFailure: the result is not finite.
        """
        return _summed_below([(cheaper(one), count) for one, count in self.ways[way]], self.scales, self.size)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Sum:
    """A tilted sum before it is read: where its window lies, K, and Chernoff's bound on what lies outside."""

    parts: list[tuple[Tilted, int]]
    lowest: int
    log_moment: float
    beyond: float
    below: float


def _placed(laws: list[tuple[Law, int]], scales: Scales, size: int, *, upwards: bool) -> _Sum:
    """The window around the tilted mean. `beyond` and `below` are logarithms of tilted masses outside of it."""
    theta, mesh = scales.theta, laws[0][0].mesh
    beyond, below = scales.others
    # K at the other tilts; the lower window's are asked for from below only.
    tilts = beyond if upwards else (*beyond, *below)
    moments = dict.fromkeys(tilts, 0.0)
    parts, total, mean, rounding, inflated = [], 0.0, 0.0, 0.0, 0.0
    for law, count in laws:
        tilted, moment = tilt(law, theta, upwards=upwards)
        nodes = np.arange(law.first, law.first + len(law.logs))
        mean += count * float(np.dot(tilted.weights, nodes))
        total += count * moment
        for other in moments:
            moments[other] += count * log_moment(law, other)
        rounding += count * abs(moment)
        # `tilt` moves each log M by at most (112 + 4|largest|)·U, twice that in all, and each weight by so much more;
        # no mass is below e^(−746), and no law has e^32 nodes.
        farthest = theta * mesh * max(abs(law.first), abs(law.first + len(law.logs)))
        inflated += count * U * (10 * abs(moment) + 4 * farthest + 6600)
        parts.append((tilted, count))
    lowest = math.floor(mean) - size // 2
    spare = 8 * U * rounding * len(laws)
    least = total - inflated - spare - 4 * U * abs(theta * lowest * mesh)

    def outside(others: tuple[float, ...], end: float) -> float:
        return min(moments[o] - least - (o - theta) * end for o in others) + spare

    return _Sum(
        parts=parts,
        lowest=lowest,
        log_moment=total + (spare if upwards else -spare),
        beyond=outside(beyond, (lowest + size) * mesh),
        below=0.0 if upwards else outside(below, (lowest - 1) * mesh),
    )


def _summed(laws: list[tuple[Law, int]], scales: Scales, size: int) -> TiltedSum:
    """From above: every mass with its largest error; what is past the window counts in full."""
    mesh = laws[0][0].mesh
    placed = _placed(laws, scales, size, upwards=True)
    masses, error = convolve(placed.parts, size=size, lowest=placed.lowest)
    top = (placed.lowest + size) * mesh
    past = math.exp(min(0.0, placed.log_moment - scales.theta * top + min(0.0, placed.beyond)))
    escaped = sum(count * law.escaped for law, count in laws) * (1 + 1e-9)
    return TiltedSum(
        masses=np.maximum(masses, 0.0) + error,
        lowest=placed.lowest,
        mesh=mesh,
        shift=sum(count * law.shift for law, count in laws) * (1 + 1e-9),
        theta=scales.theta,
        log_moment=placed.log_moment,
        constant=(past + escaped) * (1 + 1e-9),
        lost=0.0,
    )


def _summed_below(laws: list[tuple[Law, int]], scales: Scales, size: int) -> tuple[list[TiltedSum], float]:
    """From below: every mass less its largest error, less what wrapped round, at the least likely sum of moves.

    Under the tilt the moves are independent with a known mean, variance and range; Bernstein's inequality. Returned
    beside it is the mean of their sum.
    """
    placed = _placed(laws, scales, size, upwards=False)
    masses, error = convolve(placed.parts, size=size, lowest=placed.lowest)
    mean, variance, furthest, reach = 0.0, 0.0, 0.0, 0.0
    for law, count in placed.parts:
        has = law.weights > 0
        centre = float(np.dot(law.weights, law.moved))
        down = max(0.0, centre - float(law.moved[has].min()))
        mean += count * centre
        variance += count * float(np.dot(law.weights, (law.moved - centre) ** 2))
        furthest, reach = max(furthest, down), reach + count * down
    wrapped = math.exp(min(0.0, placed.beyond)) + math.exp(min(0.0, placed.below))
    found = []
    for unlikely in _UNLIKELY:
        # The first two moments' own rounding is far below a millionth of what they are.
        allowed = (math.sqrt(2 * variance * unlikely) + furthest * unlikely / 3) * (1 + 1e-6)
        one = TiltedSum(
            masses=np.maximum(masses - error, 0.0),
            lowest=placed.lowest,
            mesh=laws[0][0].mesh,
            shift=mean - min(allowed, reach) - 1e-9 * (abs(mean) + reach),
            theta=scales.theta,
            log_moment=placed.log_moment,
            constant=0.0,
            # The weights sum to 1 but for 80 U each: to so many charges' power, less than this.
            lost=(wrapped + math.exp(-unlikely)) * (1 + 1e-4),
        )
        found.append(one)
    return found, mean
