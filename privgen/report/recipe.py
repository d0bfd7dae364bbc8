"""What a reader can run to check a report without believing it. Only numbers of the ledger get into it, no names."""

from __future__ import annotations

from accountant.budget import Neighbouring
from accountant.events import BandedGaussian, Event, HiddenFeedbackGaussian
from accountant.ledger.replay import LedgerState

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
        lines.append(f"loss = {composed}" if number == 0 else f"loss = loss.compose({composed})")
    lines.append(f"print(loss.get_epsilon_for_delta({state.budget.delta!r}))")
    return "\n".join(lines)


def _composed(event: Event, steps: int) -> str:
    if isinstance(event, HiddenFeedbackGaussian):
        q, ratio = event.sampling_rate, event.feedback_ratio
        return (
            f"pld.from_mixture_gaussian_mechanism({event.noise_multiplier!r}, [{ratio!r}, {ratio + 1!r}], "
            f"[{1 - q!r}, {q!r}], value_discretization_interval=1e-3).self_compose({steps})"
        )
    charged = event.per_block if isinstance(event, BandedGaussian) else event
    count = event.blocks(steps) if isinstance(event, BandedGaussian) else steps
    return (
        f"pld.from_gaussian_mechanism({charged.noise_multiplier!r}, "
        f"sampling_prob={charged.sampling_rate!r}).self_compose({count})"
    )
