"""`privgen train`: train under the budget guard, with a live display, until it halts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privgen.catalogue import METHODS, TRACKERS
from privgen.cli.account import account_of
from privgen.cli.configuration import ConfiguredCommand
from privgen.cli.console import console, err_console, warn
from privgen.cli.facts import recall_source
from privgen.cli.option_types import DataName, OneOf
from privgen.cli.ranks import joined, own_device
from privgen.cli.signals import Requests, requests, say
from privgen.cli.train_messages import in_a_terminal, say_end
from privgen.cli.train_opening import DEFAULT_PLAN, open_session

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from privgen.training.session import Options, Session

EPILOG = """\b
Examples:
  privgen train --plan plan.json --dataset fashion-mnist --out runs/fm
  privgen train --resume --out runs/fm
  privgen train --plan plan.json --out runs/quick --preset tiny --set generator_rate=1e-3
"""

# As privgen.attacks.one_run: with fewer, guessing all of them right shows next to nothing.
FEWEST_CANARIES = 32


def _presets() -> list[str]:
    return list(dict.fromkeys(preset for method in METHODS.values() for preset in method.presets))


@click.command(cls=ConfiguredCommand, epilog=EPILOG)
@click.option(
    "--plan",
    "plan_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The plan, made by privgen plan --out.  [default: plan.json; with --resume, the run's own]",
)
@click.option(
    "--dataset",
    type=DataName(),
    help="Name or path of the data; classes and shape are the plan's.  [default: the plan's; with --resume, the run's]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data set's files are.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder.  [default: runs/ and the data set's name]",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out. Every step is charged anew.")
@click.option("--checkpoint", help="Resume from this checkpoint and not from the newest.")
@click.option(
    "--preset", type=OneOf(_presets), help="Size of the networks; each method has its own.  [default: the plan's]"
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another training setting, such as generator_rate=1e-3; may be given again.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Release the weights of a run that was interrupted so often that they hold less than 80 % of what is charged.",
)
@click.option(
    "--extend",
    is_flag=True,
    help="Go on past the plan's end with what remains of the budget beside all that the plan may charge.",
)
@click.option(
    "--insecure-fixed-seed",
    type=click.IntRange(0, 2**62),
    metavar="SEED",
    help="Reproducible noise and batches: who knows the seed can subtract the noise. For debugging only.",
)
@click.option("--signing-key", type=click.Path(path_type=Path), help="Sign the ledger with this Ed25519 key.")
@click.option("--account", help="Spend from this account too (privgen account new); its name, or a file's path.")
@click.option(
    "--anchor",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file on another disk that remembers how far the run is: a copy of the run elsewhere is refused by it.",
)
@click.option("--yes", is_flag=True, help="Do not ask before training with a plan that was found as plan.json.")
@click.option(
    "--canaries",
    type=click.IntRange(min=FEWEST_CANARIES),
    metavar="M",
    help="Plant M canary records, each in or out by a secret coin, for privgen audit --empirical. The charge is the "
    "same; the images are worse.",
)
@click.option(
    "--canary-kind",
    type=click.Choice(["image", "gradient"]),
    default="image",
    show_default=True,
    help="image: records of random pixels, which test the training; gradient: fixed vectors in every sum, which show "
    "the mechanism's ε best.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for torch.")
@click.option(
    "--rank-timeout",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Under torchrun: a process that does not answer for so long stops all.",
)
@click.option(
    "--log",
    "logs",
    type=click.Choice(TRACKERS),
    multiple=True,
    help="Log what is released of each step, into logs/ or to a server at the end; may be given again.",
)
@click.option("--log-private", is_flag=True, help="Log batch sizes and gradient norms too, in private/logs alone.")
def command(
    plan_path: Path | None,
    dataset: str | None,
    data_dir: Path | None,
    out: Path | None,
    resume: bool,
    checkpoint: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    accept_loss: bool,
    extend: bool,
    insecure_fixed_seed: int | None,
    signing_key: Path | None,
    account: str | None,
    anchor: Path | None,
    yes: bool,
    canaries: int | None,
    canary_kind: str,
    device: str,
    threads: int | None,
    rank_timeout: float,
    logs: tuple[str, ...],
    log_private: bool,
) -> None:
    """Train an image generator under a plan's budget.

    The guard reserves steps in the ledger before they run and halts when the next one would overspend;
    that is normal completion, exit status 0. Ctrl-C writes a checkpoint and exits 130; go on by --resume.
    Where crashes left less than 80 % of the charged steps in the weights, nothing is released: exit status 1.
    Several processes train together under torchrun: torchrun --nproc-per-node 4 -m privgen train ...
    """
    if resume and (preset or settings or canaries):
        raise click.UsageError("--preset, --set and --canaries belong to a new run; a resumed one keeps its own.")
    if canary_kind != "image" and not canaries:
        raise click.UsageError("--canary-kind goes with --canaries.")
    if checkpoint and not resume:
        raise click.UsageError("--checkpoint goes with --resume.")
    if logs or log_private:
        from privgen.training.tracking.session_log import require_trackers

        require_trackers(logs, private=log_private)
    with requests() as asked, joined(timeout=rank_timeout) as world:
        with world.together():
            plan = _plan(plan_path, resume=resume)
            if plan is not None and dataset is None:
                dataset = recall_source(plan_path or DEFAULT_PLAN, plan)
            options = _options(
                device, threads, insecure_fixed_seed, signing_key=signing_key, extend=extend, anchor=anchor,
                account=account_of(account) if world.leads else None, canaries=canaries or 0, canary_kind=canary_kind,
                accept_loss=accept_loss, world=world,
            )  # fmt: skip
        session = open_session(
            plan=plan,
            dataset=dataset,
            data_dir=data_dir,
            out=out,
            resume=resume,
            checkpoint=checkpoint,
            preset=preset,
            settings=settings,
            found=plan_path is None and not resume,
            ask=not yes and in_a_terminal(),
            options=options,
        )
        if session is None:
            return
        with session:
            train_to_the_end(session, asked, logs=tuple(dict.fromkeys(logs)), log_private=log_private)


def _plan(path: Path | None, *, resume: bool) -> Plan | None:
    from accountant.plans.plan import Plan

    if path is None and resume:
        return None
    return Plan.load(DEFAULT_PLAN if path is None else path)


def _options(device: str, threads: int | None, seed: int | None, **chosen: Any) -> Options:
    """`Options` with a device, and with streams from a seed where one is asked for.

    Args:
        chosen: its other fields.
    """
    import torch

    from privgen.cli.devices import device_of
    from privgen.training.insecure import seeded
    from privgen.training.session import Options

    if threads is not None:
        torch.set_num_threads(threads)
    if seed is not None:
        warn("INSECURE: noise and batches come from a seed; this run protects nobody.")
    rank = chosen["world"].ranks.rank
    return Options(
        device=device_of(own_device(device)), **chosen, **({} if seed is None else seeded(seed, rank=rank))
    )  # fmt: skip


def _compile() -> None:
    """Compile the summing loops; said where it is waited for, which it is once on a machine."""
    from privgen.gradients.kernels import compile_loops

    seconds = compile_loops()
    if seconds > 1:
        err_console.print(f"Compiled the loops that sum gradients in {seconds:.1f} s; they are kept for the next run.")


def train_to_the_end(session: Session, asked: Requests, *, logs: Sequence[str] = (), log_private: bool = False) -> None:
    """Take a session's steps with a display, say how it ended, and leave its reports; exits where it did not end well.

    Args:
        asked: what signals ask of it meanwhile. logs, log_private: as `SessionLog` takes them.
    """
    from privgen.cli.progress import TrainingDisplay
    from privgen.training.loop import run
    from privgen.training.sample_grids import LATEST
    from privgen.training.tracking.session_log import SessionLog

    _compile()
    told = shown = False
    kinds = logs if session.world.leads else ()
    log = SessionLog(session, kinds, private=log_private, warn=warn)
    with _timed(session), log, TrainingDisplay(session) as display:
        for report in run(session, stop=asked.end, keep=asked.keep):
            display.update(report)
            _warn_of_failures(session)
            log.log(report)
            if report.checkpoint is not None and asked.tell_kept():
                say(f"Checkpoint written: {report.checkpoint}, at {report.step} charged steps.")
            if report.samples is not None and not shown:
                shown = True
                newest = report.samples.parent / LATEST
                err_console.print(
                    f"First samples, newer ones every few minutes: {newest}", markup=False, soft_wrap=True
                )
            if report.nonfinite and not told:
                told = True
                warn(
                    f"Step {report.step}: {report.nonfinite} records had a gradient that is not finite; each "
                    "counts as zero and the step is charged. (Private: do not publish this line.)"
                )
    _warn_of_failures(session)
    folder = session.folder
    if session.outcome == "interrupted":
        err_console.print(
            f"Interrupted at {session.guard.steps} charged steps; checkpoint written. Go on by: "
            f"privgen train --resume --out {folder.argument}",
            markup=False,
            soft_wrap=True,
        )
        sys.exit(128 + (asked.ending or 0))
    if session.world.leads:
        say_end(session)
    if not session.released:
        sys.exit(1)
    if session.world.leads:
        _report(session)


def _warn_of_failures(session: Session) -> None:
    """Say what the training watch saw, and keep it for the report."""
    for text in session.training_watch.unsaid() if session.world.leads else ():
        warn(text)
        with suppress(OSError):
            session.folder.append_warning(text)


@contextmanager
def _timed(session: Session) -> Iterator[None]:
    """Keep what the steps took, however they end; a full disk takes nothing from them."""
    clock, processor = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        taken = {"clock": time.monotonic() - clock, "processor": time.process_time() - processor}
        if session.world.leads:
            with suppress(OSError):
                session.folder.append_seconds(**taken)


def _report(session: Session) -> None:
    """Leave the reports beside what was released. The run has halted: a full disk here takes nothing from it."""
    from accountant.errors import LedgerError
    from privgen.report.write import write_reports

    again = f"privgen audit {session.folder.argument}"
    try:
        markdown, html = write_reports(session.folder.path)
        session.name_reports((markdown, html))
    except (OSError, LedgerError) as error:
        warn(f"No report was written ({error}); make room, then: {again} --format html --out FILE")
        return
    console.print(f"Report: {html}. Recompute it: {again}", markup=False, soft_wrap=True)
