"""`TrainingWatch`: sees a run going wrong by what it releases, and says so once, with a remedy.

| what is watched | what it may mean |
|---|---|
| norm of a part's noised update, against the plan's noise and clip norms | what is fed back outgrows the gradient |
| spread of generated images within a class | mode collapse |
| gap of the critic's score of generated images from where it takes one for real | the critic outruns the generator |
| accuracy of the private classifier on generated images | the generator does not learn the classes |
| steps that the budget had room for, against the planned ones | the budget was exhausted early |

    watch = TrainingWatch(plan)
    watch.after_step(learner, step=400, progress=0.4, update_norms={"critic": 1.2})
    watch.unsaid()                                    # ("images of class 3 are nearly alike (spread 4 of 255) …",)

Guarantees: post-processing. It is given the plan, norms of what was released, and a learner of which it asks
`pictured` and `judged` alone: both are of released networks, with latent vectors of a fixed seed of its own. It has no
way to a record, changes nothing, and uses up none of the run's random numbers, so a run is the same with and without
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from accountant.plans.parts import Feedback, Part
from accountant.plans.plan import Plan
from privgen.training.method import Learner

_LOOKS = 20  # in a run, but not more often than
_LEAST_APART = 25
_EACH, _MOST_CLASSES = 8, 20
# Images of one class whose pixels differ by less, of 255, look alike to anybody; those of real digits by about 50.
_ALIKE = 6.0
# A generator that has just begun shows little variety, and a classifier knows little.
_SPREAD_FROM, _CLASSES_FROM = 0.2, 0.5
_FAR = 50.0
# Of the longest update that noise and clipping explain.
_EXPLODED = 3.0


class TrainingWatch:
    """Watches one session of a run.

    Args:
        plan: of the run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._every = max(_LEAST_APART, plan.iterations // _LOOKS)
        self._since: dict[str, int] = {}
        self._said: set[str] = set()
        self._unsaid: list[str] = []

    def unsaid(self) -> tuple[str, ...]:
        """Warnings since this was last asked; each kind comes once in a session."""
        found, self._unsaid = tuple(self._unsaid), []
        return found

    def after_step(self, learner: Learner, *, step: int, progress: float, update_norms: Mapping[str, float]) -> None:
        """Look at a step that was released.

        Args:
            learner: asked for generated images and what is thought of them, now and then. step: charged so far.
            progress: share of the plan's iterations, from 0. update_norms: L2 norm of each part's noised mean.
        """
        parameters = {part.name: sum(p.numel() for p in learner.module_of(part.name).parameters() if p.requires_grad)
                      for part in self._plan.parts if part.name in update_norms}  # fmt: skip
        for part in self._plan.parts:
            if part.name in update_norms:
                self._look_at_update(part, update_norms[part.name], parameters[part.name], step)
        if step % self._every == 0 and progress >= _SPREAD_FROM:
            self._look_at_images(learner, step, progress)

    def ended(self, *, held: int) -> None:
        """At the end: whether the budget lasted for all planned steps.

        Args:
            held: steps that are in the weights.
        """
        planned = self._plan.steps
        if held < planned:
            self._say(
                "budget",
                f"the budget was exhausted early: {held} of {planned} planned steps are in the weights; the others "
                "were charged and lost in interruptions. Plan with --spare-blocks where a run may be killed; "
                "learning rates and schedules were meant for all steps",
            )

    def _look_at_update(self, part: Part, norm: float, parameters: int, step: int) -> None:
        plan = self._plan
        batch = plan.expected_batch_size
        noise = part.noise_on_grid(plan.bands) * part.step * math.sqrt(parameters) / batch
        longest = noise + part.clip_norm + part.residual_clip_norm
        far = norm > _EXPLODED * longest or not math.isfinite(norm)
        remedy = (
            "what is fed back outgrows the gradient; plan with a smaller --feedback-ratio, or with --feedback banded"
            if plan.feedback is Feedback.PAPER
            else "the batches were far larger than planned; look at N and the sampling rate of the plan"
        )
        if self._lasts(f"update {part.name}", far, step, looks=3):
            self._say(
                "update",
                f"the noised update of {part.name} is {norm / longest:.0f} times as long as noise and clip norm "
                f"explain, since step {self._since[f'update {part.name}']}: {remedy}",
            )

    def _look_at_images(self, learner: Learner, step: int, progress: float) -> None:
        labels = torch.arange(self._classes(learner), device=learner.device).repeat_interleave(_EACH)
        if not len(labels):
            return
        source = torch.Generator(device=learner.device).manual_seed(0)
        with torch.no_grad():
            images = learner.pictured(labels, source)
            judged = {} if images is None else learner.judged(images, labels)
        if images is None:
            return
        classes = len(labels) // _EACH
        spreads = images.view(classes, _EACH, -1).std(1).mean(1) * 127.5
        self._look_at_spreads(spreads.tolist(), step)
        gap, accuracy = judged.get("score gap"), judged.get("accuracy")
        if gap is not None and self._lasts("gap", abs(gap) > _FAR, step):
            self._say(
                "gap",
                f"the critic scores generated images {gap:.0f} from where it takes one for real, since step "
                f"{self._since['gap']}: it outruns the generator, which learns nothing from it; lower critic_rate, or "
                "hold it by --set critic_constraint=spectral-norm",
            )
        little = accuracy is not None and progress >= _CLASSES_FROM and accuracy < 1.5 / classes
        if classes > 1 and self._lasts("accuracy", little, step):
            self._say(
                "accuracy",
                f"the private classifier recognises {accuracy:.0%} of the generated images (guessing: "
                f"{1 / classes:.0%}), since step {self._since['accuracy']}: images do not follow their labels; give "
                "the classifier a larger --share, raise class_weight, or plan a --warm-start, which knows the classes",
            )

    def _look_at_spreads(self, spreads: list[float], step: int) -> None:
        alike = [
            number
            for number, spread in enumerate(spreads)
            if self._lasts(f"class {number}", not spread >= _ALIKE, step)
        ]
        if not alike:
            return
        first = alike[0]
        others = f", and of {len(alike) - 1} more" if len(alike) > 1 else ""
        self._say(
            "spread",
            f"images of class {first}{others} are nearly alike (spread {spreads[first]:.0f} of 255) since step "
            f"{self._since[f'class {first}']}: raise upsampling_noise or diversity_weight by --set, let the generator "
            "take fewer steps, or plan a --warm-start, whose mixture holds the variety of each class",
        )

    @staticmethod
    def _classes(learner: Learner) -> int:
        return min(learner.pictured_classes, _MOST_CLASSES)

    def _lasts(self, what: str, holds: bool, step: int, *, looks: int = 2) -> bool:
        """Whether something held at so many looks in a row, this one included; remembers since when."""
        if not holds:
            self._since.pop(what, None)
            self._since.pop(f"{what} looks", None)
            return False
        self._since.setdefault(what, step)
        count = self._since[f"{what} looks"] = self._since.get(f"{what} looks", 0) + 1
        return count >= looks

    def _say(self, kind: str, text: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._unsaid.append(f"{text}.")
