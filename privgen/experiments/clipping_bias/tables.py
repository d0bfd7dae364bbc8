"""The tables of docs/results/clipping-bias.md, made from finished trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from privgen.experiments.clipping_bias.settings import FEEDBACKS, Trial
from privgen.experiments.clipping_bias.summary import (
    Group,
    change_name,
    dp_sgd_of,
    gain,
    groups,
    method_name,
)
from privgen.experiments.markdown import markdown_table
from privgen.experiments.records import Finished

_TITLES = {
    "match": "Each feedback at DP-SGD's best clip norm, its own best learning rate",
    "clips": "Other total clip norms",
    "vary": "Changes to banded feedback, and no momentum",
    "correlate": "Correlated noise over the same bands, at DP-SGD's best clip norm",
    "critic": "A GAN's critic",
}


def tables(finished: Sequence[Finished[Trial]]) -> str:
    """All tables as Markdown; a stage that was not run has none."""
    found = groups(finished)
    parts = []
    for stage, title in _TITLES.items():
        for task in ("mlp", "cnn", "critic"):
            rows = sorted((g for g in found if g.stage == stage and g.trial.task == task), key=_place)
            if rows:
                parts.append(_table(f"{title} ({task})", rows, found))
    return "\n\n".join(parts) + "\n"


def _place(group: Group) -> tuple[float, float, int, int]:
    """Sort by ε from the largest, then by clip norm, feedback and bands; the rest keeps the order of training."""
    trial = group.trial
    return -trial.epsilon, trial.total_clip, FEEDBACKS.index(trial.feedback), trial.bands


def _table(title: str, rows: list[Group], among: Sequence[Group]) -> str:
    """A table without its empty columns."""
    columns = {name: [column(g, among) for g in rows] for name, column in _COLUMNS.items()}
    return f"### {title}\n\n{markdown_table(columns)}"


def _epsilon(group: Group, among: Sequence[Group]) -> str:
    certified = group.at_end("certified").mean
    if group.trial.feedback == "paper-claimed":
        return f"{certified:.0f} (claimed {group.trial.epsilon:g})"
    return f"{certified:g}"


def _accuracy(group: Group, among: Sequence[Group]) -> str:
    return "–" if "accuracy" not in group.finished[0].result else str(group.at_end("accuracy"))


def _gain(group: Group, among: Sequence[Group]) -> str:
    plain = dp_sgd_of(group, among)
    if plain is None or plain is group or "accuracy" not in group.finished[0].result:
        return "–"
    return gain(group, plain).text(2)


def _loss(group: Group, among: Sequence[Group]) -> str:
    loss = group.at_end("loss")
    return f"{loss.mean:.3f} ± {loss.std:.3f}"


def _noise_saved(group: Group, among: Sequence[Group]) -> str:
    """DP-SGD's noise at its best clip norm ÷ this noise, both relative to the total clip norm."""
    plain = dp_sgd_of(group, among)
    if plain is None or plain is group:
        return "–"

    def share(one: Group) -> float:
        return float(one.at_end("noise_std").mean) / one.trial.total_clip

    return f"{share(plain) / share(group):.2f}"


_COLUMNS: dict[str, Callable[[Group, Sequence[Group]], str]] = {
    "ε certified": _epsilon,
    "feedback": lambda g, _: method_name(g.trial),
    "change": lambda g, _: change_name(g.trial),
    "C": lambda g, _: f"{g.trial.total_clip:g}",
    "η·C": lambda g, _: f"{g.trial.learning_rate * g.trial.total_clip:.3g}",
    "z": lambda g, _: f"{g.at_end('noise_multiplier').mean:.3f}",
    "noise saved": _noise_saved,
    "accuracy %": _accuracy,
    "− DP-SGD": _gain,
    "loss": _loss,
    "cosine": lambda g, _: f"{g.measured('cosine').mean:.3f} ± {g.measured('cosine').std:.3f}",
    "bias": lambda g, _: f"{g.measured('bias').mean:.3f}",
    "‖u‖/‖g‖ varies by": lambda g, _: f"{g.inconsistency.mean:.2f} ± {g.inconsistency.std:.2f}",
    "noise/‖u‖": lambda g, _: f"{g.measured('noise').mean:.1f}",
    "seeds": lambda g, _: str(len(g.finished)),
}
