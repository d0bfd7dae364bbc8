"""The public facts of a plan's data on the command line: stated, taken from a published set, or proposed from the data.

What is read from the data is a proposal and is called so, loudly, before it stands in a plan that anybody may see.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accountant.files import write_durably
from privgen.cli.option_types import OptionType

if TYPE_CHECKING:
    from accountant.budget import Neighbouring
    from accountant.plans.plan import Plan
    from accountant.plans.public_facts import PublicFacts
    from privgen.data import DataSet
    from privgen.data.propose import AskedFacts

Command = Callable[..., Any]
_SHOWN = 12


class ClassNames(OptionType):
    """benign,malignant; a name with a comma in it stands in double quotes"""

    name = "NAME,NAME,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, in order."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in next(csv.reader([str(value)], skipinitialspace=True), []))
        if not names or not all(names) or len(set(names)) != len(names):
            self.fail(f"{value!r} is not like benign,malignant, each name once", param, ctx)
        return names


class ImageShape(OptionType):
    """28x28x1: height, width, channels"""

    name = "HxWxC"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        """The three numbers."""
        if isinstance(value, tuple):
            return value
        from privgen.catalogue import EXPECTED, upsamplings

        words = str(value).lower().replace("×", "x").split("x")
        if len(words) != 3 or not all(word.isdecimal() for word in words):
            self.fail(f"{value!r} is not like 28x28x1", param, ctx)
        height, width, channels = (int(word) for word in words)
        if upsamplings(channels, height, width) is None:
            self.fail(f"images of {value} cannot be generated; expected {EXPECTED}", param, ctx)
        return height, width, channels


def facts_options(command: Command) -> Command:
    """The options by which facts are stated."""
    for option in reversed(
        (
            click.option("--name", "data_name", help="Public name of your own data; never a path."),
            click.option("--classes", type=ClassNames(), help="Names of the classes, in order; one may be empty."),
            click.option("--shape", type=ImageShape(), help="Images as they are trained on, such as 28x28x1."),
            click.option("--resize", type=click.IntRange(min=1), help="Resize images of any size to so many pixels."),
            click.option(
                "--crop",
                type=click.Choice(["centre", "none", "pad"]),
                help="Before resizing: keep the central square, change the aspect, or add black bars.  "
                "[default: centre]",
            ),
            click.option("--data-dir", type=click.Path(path_type=Path), help="Where torchvision's files are."),
        )
    ):
        command = option(command)
    return command


def remember_source(path: Path, made: Plan, name: str) -> None:
    """Write where the data of a plan are beside it, for `privgen train`; the plan itself holds no path.

    Raises:
        OSError: it cannot be written.
    """
    place = _beside(path)
    write_durably(place, json.dumps({"plan": made.digest, "dataset": name}).encode())
    place.chmod(0o600)


def recall_source(path: Path, made: Plan) -> str | None:
    """Where the data of a plan are, if `remember_source` wrote it for this very plan."""
    try:
        found = json.loads(_beside(path).read_bytes())
        return str(found["dataset"]) if found["plan"] == made.digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _beside(path: Path) -> Path:
    """plan.private.json beside plan.json."""
    return path.with_suffix(".private.json")


def planned_data(given: str | None, plan: Plan | None, data_dir: Path | None) -> DataSet:
    """The data by the plan's public facts; what is odd about single records is said on stderr alone."""
    from privgen.catalogue import DATASETS, source_name
    from privgen.cli.console import warn
    from privgen.data import load_data
    from privgen.data.planned import private_notes, require_planned_data, require_planned_source

    name = given or (plan.dataset if plan is not None else None)
    if name is None:
        raise click.UsageError("The plan names no data set; give --dataset, for example --dataset digits.")
    name = source_name(name)
    if plan is None:
        return load_data(name, data_dir)
    require_planned_source(plan, name)
    if plan.public_facts is not None and name == plan.dataset not in DATASETS:
        raise click.UsageError(f"The plan is for {name} and holds no path; say where it is: --dataset npz:PATH.")
    data = load_data(name, data_dir, facts=plan.public_facts)
    require_planned_data(plan, data)
    for note in private_notes(data, stated_size=plan.dataset_size):
        warn(f"(Private: do not publish this line.) {note}.")
    return data


@dataclass(frozen=True, kw_only=True, slots=True)
class StatedData:
    """What a plan says of its data.

    Args:
        dataset: public name, or None. source: what one's own data are loaded by, private; or None.
        size: N, or None for the default. facts: or None where nothing is known.
        reasons: how N and facts were chosen, where nobody stated them.
    """

    dataset: str | None
    source: str | None = None
    size: int | None
    facts: PublicFacts | None
    reasons: dict[str, str]


def state_data(
    dataset: str | None,
    size: int | None,
    *,
    data_name: str | None,
    classes: tuple[str, ...] | None,
    shape: tuple[int, int, int] | None,
    resize: int | None,
    crop: str | None,
    data_dir: Path | None,
    neighbouring: Neighbouring,
) -> StatedData:
    """N and the public facts for a plan; reads data only where a name or path of one's own is given.

    Raises:
        click.UsageError: the options contradict each other. DataError: the data are not there, or fit no shape.
    """
    from accountant.errors import InvalidValue
    from privgen.catalogue import DATASETS, is_own, source_name
    from privgen.data.propose import AskedFacts

    if crop is not None and resize is None:
        raise click.UsageError(f"--crop {crop} goes with --resize.")
    if data_name in DATASETS:
        raise click.UsageError(f"{data_name} is a published data set; give your own data another --name.")
    asked = AskedFacts(name=data_name, classes=classes, shape=shape, resize=resize, crop=crop)
    try:
        if dataset is None:
            return _without_data(size, asked)
        name = source_name(dataset)
        if is_own(name):
            return _own(name, size, asked, data_dir, neighbouring)
        return _published(name, size, asked)
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error


def _without_data(size: int | None, asked: AskedFacts) -> StatedData:
    from accountant.plans.public_facts import PublicFacts
    from privgen.data.propose import AskedFacts

    if asked == AskedFacts():
        return StatedData(dataset=None, size=size, facts=None, reasons={})
    if asked.name is None or asked.classes is None or asked.shape is None:
        raise click.UsageError("Without --dataset, public facts are stated whole: --name, --classes and --shape.")
    crop = asked.crop or (None if asked.resize is None else "centre")
    facts = PublicFacts(
        name=asked.name, classes=asked.classes, shape=asked.shape, resize=asked.resize, crop=crop
    )  # fmt: skip
    return StatedData(dataset=facts.name, size=size, facts=facts, reasons={})


def _published(name: str, size: int | None, asked: AskedFacts) -> StatedData:
    from privgen.catalogue import DATASETS, OWN
    from privgen.data.propose import AskedFacts
    from privgen.errors import DataError

    if name not in DATASETS:
        raise DataError(f"Unknown data set {name!r}; known are: {', '.join((*DATASETS, *OWN))}.")
    if size not in (None, DATASETS[name].size):
        raise click.UsageError(f"{name} has N = {DATASETS[name].size}; omit --dataset-size.")
    if asked != AskedFacts():
        raise click.UsageError(
            f"{name} is taken as it was published; --name, --classes, --shape and --resize are for your own data."
        )
    reasons = {"public_facts": "as published"}
    return StatedData(dataset=name, size=DATASETS[name].size, facts=DATASETS[name].facts, reasons=reasons)


def _own(
    name: str, size: int | None, asked: AskedFacts, data_dir: Path | None, neighbouring: Neighbouring
) -> StatedData:
    from privgen.cli.console import warn
    from privgen.data.load import propose_data
    from privgen.data.planned import private_notes, require_replaceable

    facts, data = propose_data(name, data_dir, asked)
    require_replaceable(neighbouring, data)
    counted = len(data.train.labels)
    proposed = []
    reasons = {}
    if size is None:
        proposed.append(f"N = {counted} (--dataset-size)")
        reasons["dataset_size"] = "PROPOSED: the training records that were counted"
    if asked.classes is None:
        shown = ", ".join(facts.classes[:_SHOWN]) + (", …" if len(facts.classes) > _SHOWN else "")
        proposed.append(f"{len(facts.classes)} class{'es' * (len(facts.classes) > 1)}: {shown} (--classes)")
    if asked.shape is None:
        proposed.append(f"images {facts.images} (--shape, --resize)")
    if asked.name is None:
        proposed.append(f"the name {facts.name} (--name)")
    if asked.classes is None or asked.shape is None:
        read = [name for name, stated in (("classes", asked.classes), ("images", asked.shape)) if stated is None]
        reasons["public_facts"] = f"PROPOSED: {' and '.join(read)} read from the data"
    if proposed:
        warn(
            f"PROPOSED PUBLIC FACTS, read from your data and not private: {'; '.join(proposed)}. The plan states them "
            "to everybody; where that would tell of a person, state others."
        )
    for note in private_notes(data, stated_size=counted if size is None else size):
        warn(f"(Private: do not publish this line.) {note}.")
    stated = counted if size is None else size
    return StatedData(dataset=facts.name, source=data.source, size=stated, facts=facts, reasons=reasons)
