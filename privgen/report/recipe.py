"""What a reader can run to check a report without believing it. Only numbers of the ledger get into it, no names."""

from __future__ import annotations

from accountant.budget import Neighbouring
from accountant.events import Event
from accountant.ledger.replay import LedgerState
from accountant.mixtures import AT_ZERO

_MOST_SEGMENTS = 20


def verify_files(state: LedgerState | None) -> str:
    """Shell lines: the audit, and digests of the released files where there are some."""
    lines = ["privgen audit RUN --format json"]
    if state is not None and state.genesis.get("public_key") is not None:
        lines.append("privgen audit RUN --public-key KEY   # the signer's key, from the signer")
    if state is not None and state.releases:
        lines.append("sha256sum RUN/release/*   # compare with the provenance above")
    return "\n".join(lines)


def recompute(state: LedgerState) -> str | None:
    """Python lines that price the charged steps with dp-accounting, or None where it has no such mechanism."""
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
    """The charges of so many steps, by the event's dominating pair; None where dp-accounting has no such pair."""
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
