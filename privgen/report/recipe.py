"""What readers can run to check a report for themselves. It holds numbers from the ledger, and no other text of it."""

from __future__ import annotations

from accountant.budget import Neighbouring
from accountant.events import Event
from accountant.ledger.state import LedgerState
from accountant.mixtures import AT_ZERO

_MOST_SEGMENTS = 20


def verify_files(state: LedgerState | None) -> str:
    """Shell lines: the audit, and the digests of released files if there are any."""
    lines = ["privgen audit RUN --format json"]
    if state is not None and state.genesis.get("public_key") is not None:
        lines.append("privgen audit RUN --public-key KEY   # the signer's key, from the signer")
    if state is not None and state.releases:
        lines.append("sha256sum RUN/release/*   # compare with the provenance above")
    return "\n".join(lines)


def recompute(state: LedgerState) -> str | None:
    """Python lines that account for the charged steps by dp-accounting, or None if it does not have the mechanism."""
    segments = [segment for segment in state.segments if segment.reserved]
    if state.budget.neighbouring is not Neighbouring.ADD_OR_REMOVE_ONE or not 0 < len(segments) <= _MOST_SEGMENTS:
        return None
    lines = ["from dp_accounting.pld import privacy_loss_distribution as pld", ""]
    for number, segment in enumerate(segments):
        composed = _composed(segment.event, segment.reserved)
        if composed is None:
            return None
        lines.append(f"loss = {composed}" if number == 0 else f"loss = loss.compose({composed})")
    lines.append(f"print(loss.get_epsilon_for_delta({state.budget.delta!r}))")
    return "\n".join(lines)


def _composed(event: Event, steps: int) -> str | None:
    """The charges of an event's steps, by its dominating pair; None if dp-accounting lacks that pair."""
    pair, count = event.dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE), event.charges(steps)
    if pair.sampling_rate is not None:
        loss = f"pld.from_gaussian_mechanism({pair.sigma!r}, sampling_prob={pair.sampling_rate!r})"
    elif pair.q == AT_ZERO:
        weights, means = ([*values] for values in zip(*pair.p.components, strict=True))
        loss = f"pld.from_mixture_gaussian_mechanism({pair.sigma!r}, {means!r}, {weights!r}, " + (
            "value_discretization_interval=1e-3)"
        )
    else:
        return None
    return f"{loss}.self_compose({count})"
