"""Exchange compositions with dp_accounting's `DpEvent`s and Opacus' `history`.

A composition here is ((event, steps), …), each pair a segment of its own. The libraries are extras, loaded only by
the functions that need them (`pip install 'privgen[adapters]'`); a history is plain JSON and needs neither.

| ours | dp_accounting | Opacus' history |
|---|---|---|
| `SubsampledGaussian` | `PoissonSampledDpEvent(q, GaussianDpEvent(z))` | [z, q, steps] |
| `BandedGaussian`, n steps | its ⌈n/b⌉ blocks at b·q | [z, b·q, ⌈n/b⌉] |
| `HiddenFeedbackGaussian` | `MixtureOfGaussiansDpEvent(z, [ρ, ρ+1], [1−q, q])` | refused: it has no such mechanism |

What they say of an event is their own: dp_accounting's RDP ignores replace-one, and prices no mixture.

    >>> from_opacus_history([[1.5, 0.04, 2250]])
    ((SubsampledGaussian(sampling_rate=0.04, noise_multiplier=1.5), 2250),)
    >>> from accountant.events import BandedGaussian
    >>> to_opacus_history([(BandedGaussian(sampling_rate=0.01, noise_multiplier=1.5, bands=4), 9)])
    [[1.5, 0.04, 3]]
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from accountant.budget import Neighbouring
from accountant.composition.segments import Composition
from accountant.errors import AccountantError, InvalidValue
from accountant.events import (
    Event,
    HiddenFeedbackGaussian,
    SubsampledGaussian,
    joint_noise_multiplier,
    require_count,
    require_event,
)
from accountant.mixtures import AT_ZERO, MixturePair
from accountant.scalars import is_number


class MissingLibrary(AccountantError, ImportError):
    """The library to exchange with is not installed."""


def to_dp_event(composition: Iterable[tuple[Event, int]]) -> Any:
    """The composition as one dp_accounting `DpEvent`.

    Args:
        composition: (event, steps) pairs, each a segment.

    Raises:
        MissingLibrary: dp_accounting is not installed.
        InvalidValue: not a composition.
    """
    library = _dp_accounting()
    composed = []
    for event, pair, count in _charges(composition):
        rate = pair.sampling_rate
        if rate is not None:
            one = library.PoissonSampledDpEvent(rate, library.GaussianDpEvent(pair.sigma))
        elif pair.q == AT_ZERO:
            weights, means = zip(*pair.p.components, strict=True)
            one = library.MixtureOfGaussiansDpEvent(pair.sigma, list(means), list(weights))
        else:
            raise InvalidValue(f"dp_accounting has no event for {event!r}: its second distribution is a mixture too.")
        composed.append(library.SelfComposedDpEvent(one, count))
    return library.ComposedDpEvent(composed)


def from_dp_event(dp_event: Any) -> Composition:
    """The composition that a dp_accounting `DpEvent` describes.

    Understood: Gaussians, Poisson-sampled or not, tuples of Gaussians from one draw, a mixture of Gaussians with
    two sensitivities one record apart, and any (self-)composition of these.

    Raises:
        MissingLibrary: dp_accounting is not installed.
        InvalidValue: a part has no counterpart here; the message says which and why.
    """
    return tuple(_imported(dp_event, _dp_accounting()))


def neighbouring_relation(neighbouring: Neighbouring) -> Any:
    """dp_accounting's name of an adjacency.

    Raises:
        MissingLibrary: dp_accounting is not installed.
    """
    _dp_accounting()
    relations = importlib.import_module("dp_accounting.privacy_accountant").NeighboringRelation
    replace_one = neighbouring is Neighbouring.REPLACE_ONE
    return relations.REPLACE_ONE if replace_one else relations.ADD_OR_REMOVE_ONE


def to_opacus_history(composition: Iterable[tuple[Event, int]]) -> list[list[float]]:
    """The composition as Opacus' `accountant.history`, as JSON: [noise_multiplier, sample_rate, steps] each.

    Raises:
        InvalidValue: an event that a history cannot say.
    """
    history: list[list[float]] = []
    for event, pair, count in _charges(composition):
        rate = pair.sampling_rate
        if rate is None:
            raise InvalidValue(
                f"Opacus' history has no way to say {event!r}: it would charge the feedback as if it were amplified; "
                "export it with to_dp_event instead."
            )
        history.append([pair.sigma, rate, count])
    return history


def from_opacus_history(history: Iterable[Sequence[float]]) -> Composition:
    """The composition that an Opacus `accountant.history` describes, from memory or from JSON.

    Raises:
        InvalidValue: an entry is no triple (noise_multiplier, sample_rate, steps), or out of range.
    """
    composition = []
    for entry in history:
        if isinstance(entry, str) or not isinstance(entry, Sequence) or len(entry) != 3:
            raise InvalidValue(f"Expected [noise_multiplier, sample_rate, steps], got {entry!r}.")
        z, q, steps = entry
        count = int(steps) if is_number(steps) and math.isfinite(steps) and steps == int(steps) else steps
        require_count(count, "steps")  # type: ignore[arg-type]
        composition.append((SubsampledGaussian(sampling_rate=q, noise_multiplier=z), int(count)))
    return tuple(composition)


def to_opacus_accountant(composition: Iterable[tuple[Event, int]], mechanism: str = "rdp") -> Any:
    """An Opacus accountant that has composed the same.

    Args:
        composition: (event, steps) pairs, each a segment. mechanism: "rdp" or "prv".

    Raises:
        MissingLibrary: Opacus is not installed.
        InvalidValue: an event that a history cannot say, or another mechanism.
    """
    if mechanism not in ("rdp", "prv"):
        raise InvalidValue(f"Expected mechanism={mechanism!r} to be rdp or prv; the others are no bounds.")
    history = [(z, q, int(steps)) for z, q, steps in to_opacus_history(composition)]
    accountant = _load("opacus.accountants", "Opacus").create_accountant(mechanism)
    accountant.history = history
    return accountant


def _charges(composition: Iterable[tuple[Event, int]]) -> Iterator[tuple[Event, MixturePair, int]]:
    """(event, its pair when one record is added or removed, count), banded segments as the blocks that they cost."""
    for event, steps in composition:
        require_count(steps, "steps")
        require_event(event)
        yield event, event.dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE), event.charges(steps)


def _imported(dp_event: Any, library: ModuleType) -> list[tuple[Event, int]]:
    if isinstance(dp_event, library.NoOpDpEvent):
        return []
    if isinstance(dp_event, library.ComposedDpEvent):
        return [pair for part in dp_event.events for pair in _imported(part, library)]
    if isinstance(dp_event, library.SelfComposedDpEvent):
        inner = _imported(dp_event.event, library)
        return [(event, steps * dp_event.count) for event, steps in inner]
    if isinstance(dp_event, library.PoissonSampledDpEvent):
        if dp_event.sampling_probability == 0:
            return []
        z = _joint(dp_event.event, library)
        return [(SubsampledGaussian(sampling_rate=dp_event.sampling_probability, noise_multiplier=z), 1)]
    if isinstance(dp_event, library.GaussianDpEvent):
        return [(SubsampledGaussian(sampling_rate=1.0, noise_multiplier=dp_event.noise_multiplier), 1)]
    if isinstance(dp_event, library.MixtureOfGaussiansDpEvent):
        return [(_from_mixture(dp_event), 1)]
    raise InvalidValue(
        f"{type(dp_event).__name__} has no counterpart here: this accountant composes Gaussians with Poisson "
        "sampling, and sampling of another kind costs something else."
    )


def _joint(dp_event: Any, library: ModuleType) -> float:
    """The joint noise multiplier of Gaussians that are released together from one draw."""
    if isinstance(dp_event, library.GaussianDpEvent):
        return float(dp_event.noise_multiplier)
    if isinstance(dp_event, library.SelfComposedDpEvent) and dp_event.count >= 1:
        return _joint(dp_event.event, library) / math.sqrt(dp_event.count)
    if isinstance(dp_event, library.ComposedDpEvent) and dp_event.events:
        return joint_noise_multiplier(*(_joint(part, library) for part in dp_event.events))
    raise InvalidValue(
        f"Expected Gaussians inside PoissonSampledDpEvent, got {type(dp_event).__name__}; only a tuple of Gaussians "
        "from one draw has a joint noise multiplier."
    )


def _from_mixture(dp_event: Any) -> Event:
    """(1 − q) N(ρ) + q N(ρ + 1), whatever its scale."""
    parts = sorted(zip(dp_event.sensitivities, dp_event.sampling_probs, strict=True))
    whole = math.isclose(sum(dp_event.sampling_probs), 1.0, rel_tol=1e-9)
    if not whole or len(parts) != 2 or not parts[1][0] > parts[0][0] >= 0:
        raise InvalidValue(
            f"Expected a mixture with two sensitivities 0 <= a < b whose probabilities sum to 1, got {dp_event!r}; "
            "no event here has another."
        )
    unit = parts[1][0] - parts[0][0]
    q, z, rho = parts[1][1], dp_event.standard_deviation / unit, parts[0][0] / unit
    if rho == 0:
        return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)
    return HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=z, feedback_ratio=rho)


def _dp_accounting() -> ModuleType:
    return _load("dp_accounting.dp_event", "dp_accounting")


def _load(module: str, library: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibrary(f"{library} is not installed; pip install 'privgen[adapters]' brings it.") from error
