"""Types of options that hold more than one value: parsed once, where the command line is read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar

import click

from privgen.cli.suggestions import meant

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from planners import PhaseShape

    # Generic in newer versions of click, and in its types.
    OptionType = click.ParamType[Any]
else:
    OptionType = click.ParamType


class Shares(OptionType):
    """critic=0.6,classifier=0.3,reconstruction=0.1"""

    name = "PART=SHARE,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        """The text as a dictionary."""
        if isinstance(value, dict):
            return value
        try:
            pairs = [item.split("=") for item in str(value).split(",")]
            shares = [(name.strip(), float(share)) for name, share in pairs]
        except ValueError:
            self.fail(f"{value!r} is not like critic=0.6,classifier=0.4", param, ctx)
        if len(dict(shares)) != len(shares):
            self.fail(f"{value!r} names a part twice", param, ctx)
        return dict(shares)


class Phases(OptionType):
    """0.5:1.5,0.5:1.0: share of the steps, factor of the noise, and if a third is given of the sampling rate"""

    name = "SHARE:NOISE[:RATE],..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[PhaseShape, ...]:
        """The text as the shape of a schedule."""
        from accountant.errors import InvalidValue
        from planners import PhaseShape
        from planners.schedule import require_whole

        try:
            rows = [[float(number) for number in item.split(":")] for item in str(value).split(",")]
            if not all(2 <= len(row) <= 3 for row in rows):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is not like 0.5:1.5,0.5:1.0", param, ctx)
        try:
            phases = tuple(PhaseShape(**dict(zip(("share", "noise", "rate"), row, strict=False))) for row in rows)
            require_whole(phases)
        except InvalidValue as error:
            self.fail(str(error), param, ctx)
        return phases


class Duration(OptionType):
    """90, 90s, 30m, 1.5h: seconds"""

    name = "DURATION"
    _UNITS: ClassVar[dict[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0}

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The text in seconds."""
        text = str(value)
        number, unit = (text[:-1], text[-1]) if text[-1:] in self._UNITS else (text, "s")
        try:
            seconds = float(number) * self._UNITS[unit]
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is not like 90s, 30m or 1.5h", param, ctx)
        return seconds


def _beginning(known: Collection[str], incomplete: str) -> list[CompletionItem]:
    """For a shell: the names that begin so."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


class DataName(OptionType):
    """A data set's name, or the path of one's own data."""

    name = "NAME"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of data sets; files where none begins so."""
        from click.shell_completion import CompletionItem

        from privgen.catalogue import DATASETS

        return _beginning(DATASETS, incomplete) or [CompletionItem(incomplete, type="file")]

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it was given, if it is known or of a kind that is."""
        from privgen.catalogue import DATASETS, OWN, is_own, source_name

        text = str(value)
        name = source_name(text)
        if "/" in text and name == text and not is_own(name):
            self.fail(f"there is no folder or file {text}", param, ctx)
        if name not in DATASETS and not is_own(name):
            known = ", ".join((*DATASETS, *OWN))
            self.fail(f"Unknown data set {text!r}; known are: {known}.{meant(text, DATASETS)}", param, ctx)
        return text


class ClaimName(OptionType):
    """A published claim's name."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, known."""
        from accountant.claims.claims import EVERY_CLAIM

        if value not in EVERY_CLAIM:
            self.fail(f"{value!r} is not one of: {', '.join(EVERY_CLAIM)}.", param, ctx)
        return str(value)


class OneOf(OptionType):
    """One name of a registry, as it is when the command line is read."""

    name = "NAME"

    def __init__(self, known: Callable[[], Collection[str]]) -> None:
        self._known = known

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All of them, for the help."""
        return f"[{'|'.join(self._known())}]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin so."""
        return _beginning(self._known(), incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, known."""
        if value not in self._known():
            self.fail(f"{value!r} is not one of: {', '.join(self._known())}.", param, ctx)
        return str(value)


class Names(OptionType):
    """Names with commas between them."""

    name = "NAME,NAME,..."

    def __init__(self, *own: str, known: Collection[str]) -> None:
        self._own, self._known = own, known

    @property
    def allowed(self) -> tuple[str, ...]:
        """Those of a registry, as it is when the command line is read, and some of the option's own."""
        return (*self._own, *self._known)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, each once, or an error that says which are known."""
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
        unknown = [name for name in names if name not in self.allowed]
        if unknown:
            self.fail(f"{unknown[0]!r} is not one of: {', '.join(self.allowed)}", param, ctx)
        return names


class Numbers(OptionType):
    """Numbers with commas between them."""

    name = "NUMBERS"

    def __init__(self, kind: Callable[[str], float], *, above: float) -> None:
        self._kind = kind
        self._above = above

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """A tuple of them, in the order given, each above the least."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self._kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 1,2.", param, ctx)
        if not all(self._above < number < float("inf") for number in numbers):
            self.fail(f"Expected each of {value!r} to be above {self._above:g}.", param, ctx)
        return numbers


class Stages(OptionType):
    """tune, match, vary, clips, correlate, critic"""

    name = "STAGES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """A tuple of them."""
        from privgen.experiments.clipping_bias.grid import STAGES

        names = tuple(str(value).split(","))
        if unknown := [name for name in names if name not in STAGES]:
            self.fail(f"{', '.join(unknown)} is none of: {', '.join(STAGES)}.", param, ctx)
        return names
