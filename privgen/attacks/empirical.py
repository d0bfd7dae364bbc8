"""`attack_run`: every attack that a run's folder allows, one after another.

(a) its release code on worst-case neighbours (`privgen.attacks.mechanism`); (b) its canaries, if some were planted
(`privgen.attacks.one_run`); (c) membership inference against its generator (`privgen.attacks.membership`), on canaries
and, if its data set is available, on records. Notes say what could not be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from accountant.audit.audit import Audit, release_of
from accountant.audit.checks import WEIGHTS
from accountant.audit.release_files import released_file
from accountant.ledger.state import charged
from accountant.plans.plan import Plan
from privgen.attacks.mechanism import audit_mechanism
from privgen.attacks.membership import GENERATED, Membership, membership_of
from privgen.attacks.one_run import CanaryFinding, one_run_bound, read_canaries
from privgen.attacks.one_run_curve import curve_bound
from privgen.attacks.summary import Empirical
from privgen.attacks.warm_start import audit_warm_start
from privgen.attacks.worlds import seeded_coins
from privgen.data import DataSet, load_data
from privgen.data.load import ON_DISK, find_dataset_folder
from privgen.errors import CheckpointError, DataError, EvaluationError, RunError
from privgen.generate import LoadedGenerator, load_generator
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.training.canaries import Canaries
from privgen.training.run_folder import RunFolder

# Many trials cost little and allow a high confidence; a run has few canaries.
CONFIDENCE, CANARY_CONFIDENCE = 0.999, 0.95
Attack = Callable[..., Membership]


def attack_run(
    audit: Audit,
    run: Path,
    *,
    data_dir: Path | None = None,
    trials: int | None = None,
    confidence: float | None = None,
    seed: int | None = None,
    generated: int = GENERATED,
) -> Empirical:
    """Attack a run.

    Args:
        audit: of it. run: its folder. data_dir: where its data set's files are; nothing is downloaded.
        trials: runs of each world for (a), or None for as many as take a minute or two.
        confidence: of each bound, in (0, 1), or None for 0.999 and, for canaries, 0.95.
        seed: of the attacks' randomness, to repeat them; None means fresh randomness. generated: images for (c), >= 1.

    Raises:
        RunError: the ledger holds no plan.
    """
    plan = None if audit.state is None else audit.state.plan
    if audit.state is None or audit.spent is None or plan is None:
        raise RunError(f"The ledger of {audit.run} holds no plan, so --empirical does not know what to attack.")
    noise = ExactGaussian() if seed is None else ExactGaussian.insecure_fixed_seed(seed)
    coins = None if seed is None else seeded_coins(seed)
    options: dict[str, Any] = {"trials": trials, "confidence": confidence or CONFIDENCE, "noise": noise, "coins": coins}
    findings = (*audit_mechanism(plan, **options), *audit_warm_start(plan, **options))
    notes: list[str] = []
    generator = _generator(audit, run, notes)
    attack = None if generator is None else partial(membership_of, generator=generator, seed=seed, generated=generated)
    canaries, told = _canaries(audit, run, attack, confidence or CANARY_CONFIDENCE, notes)
    members = () if attack is None else tuple(_members(plan, run, attack, data_dir, notes))
    return Empirical(
        findings=findings,
        noise=noise.kind,
        canaries=canaries,
        memberships=(*told, *members),
        notes=tuple(notes),
    )


def _generator(audit: Audit, run: Path, notes: list[str]) -> LoadedGenerator | None:
    """The released generator, or None if it is not the one whose digest the ledger states."""
    if audit.state is None or released_file(audit.state, release_of(run), WEIGHTS) is None:
        notes.append("Membership inference was skipped: there is no released generator with the digest in the ledger.")
        return None
    try:
        return load_generator(release_of(run))
    except RunError as error:
        notes.append(f"Membership inference was skipped: {error}")
        return None


def _canaries(
    audit: Audit, run: Path, attack: Attack | None, confidence: float, notes: list[str]
) -> tuple[tuple[CanaryFinding, ...], tuple[Membership, ...]]:
    if audit.state is None or audit.spent is None or audit.state.canaries is None:
        notes.append("No one-run audit: this run was trained without canaries (privgen train --canaries).")
        return (), ()
    delta, certified = audit.state.budget.delta, audit.spent.epsilon
    try:
        planted, scores = read_canaries(run / "private", audit.state.canaries)
        felt = one_run_bound(scores.values, planted.included, delta=delta, confidence=confidence)
    except (CheckpointError, EvaluationError) as error:
        notes.append(f"No one-run audit: {error}")
        return (), ()
    show = partial(
        curve_bound,
        included=planted.included,
        composition=charged(audit.state.segments),
        delta=delta,
        neighbouring=audit.state.budget.neighbouring,
    )
    kind = "canaries" if isinstance(planted, Canaries) else "gradient canaries"
    what = f"{kind}, by their trace in {scores.blocks} blocks of steps"
    whole = CanaryFinding(what=what, lower=felt, certified=certified, curve=show(scores.values, confidence=confidence))
    # Of all parts together each may err as often as the whole does.
    each = 1 - (1 - confidence) / max(1, len(scores.by_part))
    apart = (
        CanaryFinding(
            what=f"{kind}, in the part {name} alone",
            lower=one_run_bound(values, planted.included, delta=delta, confidence=each),
            certified=certified,
            curve=show(values, confidence=each),
        )
        for name, values in scores.by_part.items()
    )
    found = (whole, *apart)
    if attack is None or not isinstance(planted, Canaries) or len(set(planted.included)) < 2:
        return found, ()
    # By generated images: nothing of a real record is in it.
    groups = planted.images[planted.included], planted.images[~planted.included]
    return found, (attack("included canaries from excluded ones", *groups, private=False),)


def _members(plan: Plan, run: Path, attack: Attack, data_dir: Path | None, notes: list[str]) -> Iterator[Membership]:
    """Records that were trained on, against held-out ones."""
    try:
        data = _data_at_hand(plan, run, data_dir)
    except (DataError, RunError, OSError) as error:
        notes.append(f"Membership inference was skipped: {error}")
        return
    what = f"records of {data.name} that were trained on from held-out ones"
    yield attack(what, data.train.images, data.test.images, private=True)


def _data_at_hand(plan: Plan, run: Path, data_dir: Path | None) -> DataSet:
    """The run's own data. A foreign ledger may name any path, so this needs the run's private folder."""
    if not (run / "private" / "fingerprint.json").exists():
        raise DataError("it needs the run's private folder, which knows what it was trained on.")
    name = RunFolder(run).source() or plan.dataset
    if name is None:
        raise DataError("the run does not say where its data are.")
    if name in ON_DISK and find_dataset_folder(name, data_dir) is None:
        raise DataError(f"{name} is not available on this machine; give its folder by --data-dir.")
    data = load_data(name, data_dir, facts=plan.public_facts)
    RunFolder(run).require_fingerprint(data.fingerprint())
    if not len(data.test.labels):
        raise DataError(f"{data.name} has no held-out records.")
    return data
