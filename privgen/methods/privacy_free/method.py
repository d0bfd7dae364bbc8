"""`PrivacyFreeMethod`: the paper's GAN by a plan whose noise and clipping are next to none.

It is the same training to the last line: what is missing to privacy is missing in the plan, which promises an ε beyond
every meaning (`accountant.audit.checks.LARGEST_PROMISE`). So ledger and guard stay true, and an audit fails. A release
has this method's name, by which `privgen.generate.load_generator` refuses to make images of it.
"""

from __future__ import annotations

from accountant.audit.checks import LARGEST_PROMISE
from accountant.plans.plan import Plan
from privgen.errors import RunError
from privgen.methods.gan.method import GanMethod


class PrivacyFreeMethod(GanMethod):
    """A ceiling: what the GAN would be if its records needed no protection."""

    name = "privacy_free"
    watched = ()
    without_privacy = True

    def require_planned(self, plan: Plan) -> None:
        """Raise RunError unless the plan says that it promises nothing."""
        super().require_planned(plan)
        if plan.epsilon <= LARGEST_PROMISE:
            raise RunError(
                f"A run without privacy cannot promise ε = {plan.epsilon:g}; begin it by privgen baseline privacy-free."
            )


METHOD = PrivacyFreeMethod()
