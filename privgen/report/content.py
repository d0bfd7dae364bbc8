"""The text of an audit's report, once for all formats.

Everything that came from the ledger has passed `plain`. Nothing is escaped for a format here: the renderers
(`privgen.report.markdown`, `privgen.report.html`) do that.
"""

from __future__ import annotations

from collections.abc import Mapping

from accountant.audit.audit import CLAIMED_LABEL, Audit, versions_of
from accountant.bound_text import exact_text, lower_text, upper_text
from accountant.composition.certified import Certified
from accountant.ledger.state import LedgerState
from accountant.plans.cost_shares import Share
from accountant.plans.parts import Feedback
from accountant.plans.plan import Plan
from privgen.report.document import HOLDS, Block, Code, Paragraph, Report, Section, Table
from privgen.report.recipe import recompute, verify_files
from privgen.report.risk import STRONG, risk_section, weakness
from privgen.report.text import plain

# Of the charged steps: with less of them in the weights, the summary says so.
LITTLE_HELD = 0.8
HELD = {"checked": "checked", "by-construction": "enforced by construction", "on-trust": "taken on trust"}
STATUS = {"passed": "passed", "failed": "FAILED", "not-checked": "not checked"}
_CLASSES_SHOWN = 12


def report_of(audit: Audit) -> Report:
    """The report of an audit."""
    sections = [_checks(audit)]
    if audit.state is not None and audit.spent is not None:
        state = audit.state
        sections = [*_risk(audit, state), _spend(audit, state, audit.spent), *sections, _mechanism(state)]
        if audit.shares:
            sections.append(_parts(audit))
        sections += [_assumptions(audit), _provenance(state)]
    sections.append(_yourself(audit))
    return Report(
        title=f"Privacy of {plain(audit.run)}",
        tone=tone_of(audit),
        headline=f"Verdict: {audit.verdict.upper()}",
        summary=summary_of(audit),
        figures=_key_figures(audit),
        sections=tuple(sections),
    )


def _risk(audit: Audit, state: LedgerState) -> list[Section]:
    """What the guarantee means for a person, where there is one."""
    if audit.risks is None or audit.guarantee is None:
        return []
    return [risk_section(audit.risks, epsilon=audit.guarantee.epsilon, delta=state.budget.delta)]


def tone_of(audit: Audit) -> str:
    """The verdict, which is good news only where the ε that holds is small."""
    praised = audit.guarantee is not None and audit.guarantee.epsilon <= STRONG
    return HOLDS if audit.verdict == "passed" and not praised else audit.verdict


def summary_of(audit: Audit) -> str:
    """The verdict in a sentence or two."""
    failed = [plain(check.name) for check in audit.checks if check.status == "failed"]
    if audit.state is None or audit.spent is None or audit.guarantee is None:
        return "The ledger cannot be relied on, so nothing can be said about the privacy of this run."
    if failed:
        return f"Do not rely on any figure below: {', '.join(failed)} failed."
    budget = audit.state.budget
    promise = f"({exact_text(budget.epsilon)}, {exact_text(budget.delta)})"
    if not audit.state.steps_charged:
        return f"Nothing was spent and nothing was released; {promise} is promised."
    spend = f"({upper_text(audit.guarantee.epsilon)}, {exact_text(budget.delta)})"
    if audit.verdict == "incomplete":
        return (
            "Every check passed, but the ledger does not end in a halt: the run may continue. Whatever it "
            f"releases, and whenever it is stopped, is {spend}-differentially private; {promise} is promised."
        )
    return (
        f"What this run released is {spend}-differentially private for one record ({budget.neighbouring.value}); "
        f"{promise} was promised. Every figure is recomputed from the ledger.{_lost(audit.state)}"
    )


def _lost(state: LedgerState) -> str:
    """What crashes wasted, where that is much."""
    if state.held >= LITTLE_HELD * state.steps_charged:
        return ""
    return (
        f" Only {state.held} of {state.steps_charged} charged steps are in the weights: the others were lost when the "
        "run was interrupted, and are spent."
    )


def _key_figures(audit: Audit) -> tuple[tuple[str, str], ...]:
    if audit.state is None or audit.guarantee is None:
        return ()
    budget, state = audit.state.budget, audit.state
    planned = "" if state.plan is None else f" of {state.plan.steps}"
    spent = "spent" if audit.claimed is None else "certified"
    figures = [(spent, f"ε ≤ {upper_text(audit.guarantee.epsilon)}"), ("promised", f"ε = {exact_text(budget.epsilon)}")]
    if audit.claimed is not None:
        figures.append(("claimed by RDP, not a bound", f"ε = {upper_text(audit.claimed)}"))
    return (*figures, ("at", f"δ = {exact_text(budget.delta)}"), ("steps", f"{state.steps_charged}{planned}"))


def spend_rows(audit: Audit, state: LedgerState, spent: Certified) -> tuple[tuple[str, str], ...]:
    """The promise, the spend and the steps, as (name, value); the terminal shows the same rows."""
    budget = state.budget
    planned = "no plan" if state.plan is None else f"{state.plan.steps} planned"
    resumes = f"{state.resumes} resumes, {state.crashes} of them after a crash"
    guarantee = audit.guarantee
    rows = [
        (
            "promised",
            f"ε = {exact_text(budget.epsilon)}, δ = {exact_text(budget.delta)}, {budget.neighbouring.value}, "
            "unit: one record",
        ),
        ("spent", f"ε ≤ {upper_text(spent.epsilon)} (the smaller of the two upper bounds)"),
        *bound_rows(spent),
    ]
    if audit.claimed is not None:
        rows[1] = ("certified", f"ε ≤ {upper_text(spent.epsilon)} (the smaller of the two upper bounds); this is spent")
        rows.append(("claimed", f"ε = {upper_text(audit.claimed)} by RDP ({CLAIMED_LABEL})"))
    if guarantee is not None and guarantee.epsilon != spent.epsilon:
        rows[1] = ("charged so far", f"ε ≤ {upper_text(spent.epsilon)}: no guarantee by itself")
        rows.insert(1, ("guaranteed", f"ε ≤ {upper_text(guarantee.epsilon)}, by {guarantee.by}"))
    held = f"{state.held} of the charged in the weights"
    rows.append(("steps", f"{state.steps_done} done, {state.steps_charged} charged, {planned}, {held}, {resumes}"))
    weak = weakness(budget.epsilon)
    if weak is not None:
        rows.append(("a weak promise", weak))
    if state.plan is not None and budget.delta * state.plan.dataset_size >= 1:
        text = f"δ is not below 1/N = 1/{state.plan.dataset_size}: releasing a whole record would satisfy it"
        rows.append(("a weak promise", text))
    halted = (
        "no: the ledger does not end in a halt, and the run may continue"
        if state.halted is None
        else plain(state.halted)
    )
    rows.append(("halted", halted))
    return tuple(rows)


def bound_rows(bounds: Certified) -> tuple[tuple[str, str], tuple[str, str]]:
    """The bounds by RDP and by PRV."""
    prv = bounds.prv
    if prv is None:
        text = f"not available here: {plain(bounds.fallback)}"
    else:
        text = f"{lower_text(prv.lower)} ≤ ε ≤ {upper_text(prv.upper)}"
    return ("by RDP", f"ε ≤ {upper_text(bounds.rdp)}"), ("by PRV", text)


def _spend(audit: Audit, state: LedgerState, spent: Certified) -> Section:
    table = Table(caption="Promised and spent", head=("item", "value"), rows=spend_rows(audit, state, spent))
    blocks: list[Block] = [table]
    if audit.claimed is not None:
        blocks.append(Paragraph(text=WHY_THE_CLAIM_IS_NO_BOUND))
    return Section(key="spend", title="Promised and spent", blocks=tuple(blocks))


WHY_THE_CLAIM_IS_NO_BOUND = (
    "The published analysis charges this feedback as if each step's sampling amplified what is fed back. But the "
    "error that is fed back depends on every earlier batch, so the sampling of the current batch does not amplify "
    "it; the certified figure charges it in full."
)


def _checks(audit: Audit) -> Section:
    rows = tuple((plain(c.name), STATUS[c.status], plain(c.detail)) for c in audit.checks)
    table = Table(caption="What was checked", head=("check", "result", "finding"), rows=rows)
    return Section(key="checks", title="Checks", blocks=(table,))


def _mechanism(state: LedgerState) -> Section:
    genesis, plan = state.genesis, state.plan
    rows = [
        ("sampling", plain(genesis.get("sampling") or "not stated")),
        ("noise", _noise(genesis.get("noise"))),
    ]
    if state.canaries is not None:
        text = f"{state.canaries.count} made-up records, each included or not by a coin, for an audit from one run"
        rows.append(("canaries", text))
    if plan is None:
        rows.append(("plan", "none, only a budget"))
        rows += [("released", text) for text in dict.fromkeys(plain(s.event.describe()) for s in state.segments)]
        return _mechanism_section(Table(caption="Sampling and noise", head=("item", "value"), rows=tuple(rows)))
    rows += [
        ("data set", f"{plain(plan.dataset or 'not named')}, N = {plan.dataset_size} records (public)"),
        *_public_facts(plan),
        ("error feedback", _feedback(plan)),
    ]
    phases = tuple(
        (
            str(number),
            phase.releases,
            str(phase.iterations),
            f"{phase.sampling_rate:.6g}",
            f"{phase.sampling_rate * plan.dataset_size:.6g}",
            f"{phase.noise_multiplier:.6g}",
        )
        for number, phase in enumerate(plan.releases(), start=1)
    )
    heads = ("phase", "releases", "steps", "sampling rate q", "expected batch qN", "joint noise multiplier z")
    return _mechanism_section(
        Table(caption="Sampling and noise", head=("item", "value"), rows=tuple(rows)),
        Table(caption="Planned phases", head=heads, rows=phases),
    )


def _noise(kind: object) -> str:
    known = {
        "floored-gaussian": "floored-gaussian: integers, exact in law, from AES under the operating system's key",
        "fast": "fast: floating point, not exact; its ε did not hold",
        "secure": "secure: floating point, not exact; its ε did not hold",
        "insecure-fixed-seed": "insecure-fixed-seed: somebody knows the seed, and can subtract the noise",
    }
    return known.get(str(kind), plain(kind or "not stated"))


def _mechanism_section(*tables: Table) -> Section:
    return Section(key="mechanism", title="Sampling and noise", blocks=tables)


def _public_facts(plan: Plan) -> tuple[tuple[str, str], ...]:
    facts = plan.public_facts
    if facts is None:
        return ()
    names = ", ".join(facts.classes[:_CLASSES_SHOWN]) + (", …" if len(facts.classes) > _CLASSES_SHOWN else "")
    return ("classes (public)", f"{len(facts.classes)}: {plain(names)}"), ("images (public)", facts.images)


def _feedback(plan: Plan) -> str:
    names = {Feedback.BANDED: f"banded, {plan.bands} bands", Feedback.PAPER: "as published", Feedback.NONE: "none"}
    return f"{names[plan.feedback]}: {plan.event_of(plan.schedule()[0]).describe()}"


def _parts(audit: Audit) -> Section:
    head = (
        "part",
        "clip norm C1",
        "residual R",
        "feedback C2",
        "noise multiplier",
        "share of the spend",
        "by clipped gradients",
        "by feedback",
    )
    rows = tuple(
        (
            plain(share.name),
            exact_text(share.clip_norm),
            exact_text(share.residual_clip_norm),
            exact_text(share.feedback_clip_norm),
            f"{share.noise_multiplier:.6g}",
            f"{share.share:.1%}",
            *split_of(share),
        )
        for share in audit.shares
    )
    text = (
        "Every step releases one noised sum for each part; together they are one release, charged once. A part's share "
        "is its 1/z² divided by the sum over all parts; the fraction of it that banded feedback takes is "
        "(R²/K) ÷ (C1² + R²/K), where K is bands − 1."
    )
    table = Table(caption="What each step releases", head=head, rows=rows)
    return Section(key="parts", title="Spend by part", blocks=(Paragraph(text=text), table))


def split_of(share: Share) -> tuple[str, str]:
    """A part's share as text: what clipped gradients take of it, and what feedback takes."""
    if share.feedback is None:
        return "not separable", "not separable: charged in full"
    return f"{share.share - share.feedback:.1%}", f"{share.feedback:.1%}"


def _assumptions(audit: Audit) -> Section:
    rows = tuple(
        (HELD[a.held], plain(a.text)) for a in sorted(audit.assumptions, key=lambda a: list(HELD).index(a.held))
    )
    table = Table(caption="What the guarantee rests on", head=("how it is held", "assumption"), rows=rows)
    return Section(key="assumptions", title="What the theorem needs", blocks=(table,))


def _provenance(state: LedgerState) -> Section:
    software = ", ".join(f"{name} {version}" for name, version in sorted(versions_of(state).items()))
    rows = [
        ("run", plain(state.genesis.get("run") or "not stated")),
        ("begun", plain(state.genesis.get("date") or "not stated")),
        ("software", plain(software or "not stated")),
        ("plan, SHA-256", "no plan" if state.plan is None else state.plan.digest),
        ("ledger", f"{state.entries} entries, the last one's SHA-256 is {state.head}"),
        ("signed by", plain(state.genesis.get("public_key") or "not signed")),
    ]
    account = state.genesis.get("account")
    if isinstance(account, Mapping):
        text = (
            f"{account.get('name')}, {account.get('identity')}: a budget over many runs, from which this run spends too"
        )
        rows.append(("account", plain(text)))
    if state.last_checkpoint is not None:
        last = state.last_checkpoint
        rows.append((f"weights at step {last.step}, SHA-256", plain(last.weights_digest)))
    rows += [(f"{plain(name)}, SHA-256", plain(digest)) for name, digest in sorted(state.releases.items())]
    table = Table(caption="Provenance", head=("item", "value"), rows=tuple(rows))
    return Section(key="provenance", title="Provenance", blocks=(table,))


def _yourself(audit: Audit) -> Section:
    blocks: list[Block] = [
        Paragraph(text="Replace RUN by the run's folder. The first line recomputes everything above from the ledger:"),
        Code(language="sh", text=verify_files(audit.state)),
    ]
    other = None if audit.state is None else recompute(audit.state)
    if other is not None:
        text = "Another library, Google's dp-accounting, can account for the same steps without any code of privgen's:"
        blocks += [Paragraph(text=text), Code(language="python", text=other)]
    return Section(key="yourself", title="How to check it yourself", blocks=tuple(blocks))
