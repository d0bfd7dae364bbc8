"""How `privgen train` opens a run: begun by a plan, or gone on with, in a world of any size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privgen.cli.facts import planned_data
from privgen.cli.plan_risk import warn_of_weakness
from privgen.cli.spent_before import tell_spent_before
from privgen.cli.suggestions import meant
from privgen.cli.train_messages import say_halted, say_resumed, show_found

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from privgen.config import RunSettings
    from privgen.training.method import Method
    from privgen.training.session import Halted, Options, Session

DEFAULT_PLAN = Path("plan.json")


def open_session(
    *,
    plan: Plan | None,
    dataset: str | None,
    data_dir: Path | None,
    out: Path | None,
    resume: bool,
    checkpoint: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    found: bool,
    ask: bool,
    options: Options,
) -> Session | None:
    """A session of the run, on every rank; None where it has halted.

    Args:
        found: the plan was found and not named. ask: somebody may be asked.
    """
    from privgen.catalogue import method_named
    from privgen.training.begin import begin
    from privgen.training.opening import open_run
    from privgen.training.records import ImageRecords
    from privgen.training.session import Halted

    if resume:
        return _resume(plan, dataset, data_dir, out, checkpoint, options)
    assert plan is not None  # `_plan` leaves it out for a resume alone
    with options.world.together():
        method = method_named(plan.method)
        data = planned_data(dataset, plan, data_dir)
        chosen = _settings(method, plan, preset, settings)

    def beginning(options: Options) -> Session | Halted:
        tell_spent_before(plan, data)
        warn_of_weakness(plan)
        if found:
            show_found(plan, data, DEFAULT_PLAN, ask=ask)
        where = _out(out, data.name)
        return begin(where, plan=plan, method=method, settings=chosen, data=ImageRecords(data), options=options)

    begun = open_run(beginning, plan=plan, method=method, data=ImageRecords(data), options=options)
    assert not isinstance(begun, Halted)  # a run that begins has not
    return begun


def _resume(
    plan: Plan | None,
    dataset: str | None,
    data_dir: Path | None,
    out: Path | None,
    checkpoint: str | None,
    options: Options,
) -> Session | None:
    """Go on with a run; None where it has halted."""
    from accountant.plans.plan import Plan
    from accountant.plans.planned_method import GAN
    from privgen.catalogue import method_named
    from privgen.training.opening import open_run
    from privgen.training.records import ImageRecords
    from privgen.training.resume import resume as resume_run
    from privgen.training.run_folder import RunFolder
    from privgen.training.session import Halted

    def look() -> dict[str, Any]:
        folder = RunFolder.existing(_out(out, plan.dataset if plan else dataset))
        known = folder.known_plan()
        return {"plan": known and known.to_json(), "source": folder.source(), "out": str(folder.path)}

    # Rank 0 alone has the folder.
    run = options.world.led(look)
    begun = Plan.from_json(run["plan"]) if run["plan"] else plan
    with options.world.together():
        method = method_named(GAN.name if begun is None else begun.method)
        data = ImageRecords(planned_data(dataset or run["source"], plan or begun, data_dir))
    resumed = open_run(
        lambda options: resume_run(
            run["out"], method=method, data=data, options=options, plan=plan, checkpoint=checkpoint
        ),
        plan=plan, method=method, data=data, options=options,
    )  # fmt: skip
    if isinstance(resumed, Halted):
        say_halted(resumed)
        return None
    if resumed.world.leads:
        say_resumed(resumed)
    return resumed


def _out(given: Path | None, dataset: str | None) -> Path:
    if given is None and dataset is None:
        raise click.UsageError("Give the run's folder: --out runs/NAME.")
    return given if given is not None else Path("runs") / Path(str(dataset)).name.replace(":", "-")


def _settings(method: Method, plan: Plan, preset: str | None, settings: tuple[str, ...]) -> RunSettings:
    """The plan's settings, with what was asked for changed."""
    import json

    from privgen.errors import ConfigError

    values = method.planned_settings(plan).to_json()
    if preset is not None and "preset" not in values:
        raise ConfigError(f"Method {method.name} has no presets; omit --preset {preset}.")
    if preset is not None:
        values["preset"] = preset
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in values:
            known = f"Expected NAME=VALUE with NAME one of: {', '.join(values)}."
            found = f"is not known.{meant(name, values)}" if name not in values else "has no value."
            raise click.BadParameter(f"{setting!r} {found} {known}", param_hint="--set")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    try:
        return method.settings_from_json(values)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--set") from error
