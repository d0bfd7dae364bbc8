"""A privacy loss on the nodes k · mesh, as a law that costs more than it, and as one that costs less.

More: each cell's masses (p, q) are split between its two ends so that both are kept, p = p_a + p_b and
q = p_a·e^(−a) + p_b·e^(−b); then P and Q are images of what is split under one channel ("connect the dots": Doroshenko,
Ghazi, Kamath, Kumar & Manurangsi 2022, arXiv 2207.04380). Less: each cell around a node is merged to one atom, which
is an image of P and Q, and moved to its node; how far it was moved is remembered. Proofs: docs/privacy.md, theorem 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accountant.composition.loss_cells import LossCells
from accountant.composition.rounding import ELEMENTARY, U
from accountant.mixtures import Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Law:
    """Mass e^(logs[j]) at the loss (first + j) · mesh + moved[j].

    Args:
        logs: (n,), −∞ where there is none; the masses' sum is 1 up to rounding and what was left out.
        moved: (n,), 0 in a law that costs more.
        escaped: mass at an infinite loss. shift: what is to be added to every loss.
    """

    logs: Floats
    moved: Floats
    first: int
    mesh: float
    escaped: float
    shift: float


def costlier(cells: LossCells) -> Law:
    """A law on the nodes whose profile, composed as often as one likes, is at least the pair's."""
    mesh = cells.mesh
    p = cells.p.high[0::2] + cells.p.high[1::2]
    p_least = cells.p.low[0::2] + cells.p.low[1::2]
    q = cells.q.low[0::2] + cells.q.low[1::2]
    start = np.arange(cells.first, cells.last) * mesh
    # e^a·q/p from below; it is at least e^(−mesh)·p_least/p, because no loss of the cell is above its end.
    log_p, log_q = _log(p), _log(q)
    share = np.exp(np.minimum(start + log_q - log_p, 0.0))
    off = U * (4 * (np.abs(start) + np.abs(log_p)) + 2 * np.where(q > 0, np.abs(log_q), 0.0) + 5 * ELEMENTARY + 8)
    share = share * (1 - off - 2 * cells.slack)
    share = np.maximum(share, p_least / p * np.exp(-mesh) * (1 - 16 * U))
    width = -np.expm1(-mesh)
    above = np.clip(p * (1 - share) / width * (1 + 16 * U), 0.0, p)
    # Where p is too large for the cell's last loss, by rounding, the rest goes to an infinite one.
    escaped = np.maximum(p - np.exp(mesh) * share * p, 0.0)
    masses = np.zeros(len(p) + 1)
    masses[:-1] = (p - above) * (1 + 4 * U)
    masses[1:] += above
    masses[0] += cells.p.below
    whole = float(escaped.sum() + cells.p.above) * (1 + 64 * U)
    return Law(
        logs=_log(masses),
        moved=np.zeros_like(masses),
        first=cells.first,
        mesh=mesh,
        escaped=whole,
        shift=cells.slack * (1 + 4 * U),
    )


def cheaper(cells: LossCells) -> Law:
    """A law beside the nodes whose profile, composed as often as one likes, is at most the pair's."""
    mesh = cells.mesh
    p, p_most, q = (_around_nodes(of) for of in (cells.p.low, cells.p.high, cells.q.high))
    nodes = np.arange(cells.first, cells.last + 1) * mesh
    with np.errstate(divide="ignore", invalid="ignore"):
        # log(p/q) from below; no loss of the cell is below its start, so neither is that of the whole.
        log_p, log_most, log_q = np.log(p), np.log(p_most), np.log(q)
        known = np.maximum(log_p - log_q, log_p - log_most + nodes - mesh / 2 - cells.slack)
        off = U * (4 * ELEMENTARY * (np.abs(log_p) + np.abs(log_q) + np.abs(log_most)) + 8 * np.abs(nodes) + 8)
        moved = np.minimum(known - off - nodes, mesh)
    good = (p > 0) & (moved > -mesh)
    return Law(
        logs=np.where(good, log_p, -np.inf),
        moved=np.where(good, moved, 0.0),
        first=cells.first,
        mesh=mesh,
        escaped=0.0,
        shift=0.0,
    )


def _around_nodes(halves: Floats) -> Floats:
    """(nodes,) sums of the two half cells around each node; the outermost have one."""
    sums = np.zeros(len(halves) // 2 + 1)
    sums[:-1] = halves[0::2]
    sums[1:] += halves[1::2]
    return sums


def _log(masses: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(masses))
