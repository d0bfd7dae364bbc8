"""Privacy accounting for DP-SGD, banded error feedback and the published error feedback.

    >>> from accountant import BandedGaussian, PrvAccountant, RdpAccountant
    >>> step = BandedGaussian(sampling_rate=256 / 60000, noise_multiplier=0.65, bands=4)
    >>> rdp = RdpAccountant().compose(step, 4000).get_epsilon(1e-5)
    >>> prv = PrvAccountant().compose(step, 4000).get_epsilon_bounds(1e-5)
    >>> prv.lower <= prv.upper <= rdp
    True

Every ε is for the natural logarithm; every bound is rounded towards privacy. See docs/privacy.md.
"""

from accountant.budget import Budget, EpsilonBounds, Neighbouring
from accountant.claims.claims import Claim, claim, claim_of_settings, claimed_epsilon
from accountant.composition.certified import Certified
from accountant.composition.private_selection import RandomRuns, search_epsilon
from accountant.composition.prv import PrvAccountant
from accountant.composition.rdp import RdpAccountant
from accountant.errors import (
    AccountantError,
    BudgetExhausted,
    InvalidValue,
    LedgerBroken,
    LedgerError,
    LedgerIncomplete,
    LedgerLocked,
    PlanError,
    PrvFailure,
    ReceiptError,
)
from accountant.events import (
    BandedGaussian,
    Event,
    HiddenFeedbackGaussian,
    SubsampledGaussian,
    event_from_json,
    event_to_json,
    joint_noise_multiplier,
)
from accountant.ledger.chain import Ledger
from accountant.ledger.guard import BudgetGuard
from accountant.ledger.receipt import Receipt
from accountant.ledger.replay import verify_ledger
from accountant.ledger.state import LedgerState
from accountant.plans.parts import Feedback, Part, Phase, Verified
from accountant.plans.plan import Plan

__all__ = [
    "AccountantError",
    "BandedGaussian",
    "Budget",
    "BudgetExhausted",
    "BudgetGuard",
    "Certified",
    "Claim",
    "EpsilonBounds",
    "Event",
    "Feedback",
    "HiddenFeedbackGaussian",
    "InvalidValue",
    "Ledger",
    "LedgerBroken",
    "LedgerError",
    "LedgerIncomplete",
    "LedgerLocked",
    "LedgerState",
    "Neighbouring",
    "Part",
    "Phase",
    "Plan",
    "PlanError",
    "PrvAccountant",
    "PrvFailure",
    "RandomRuns",
    "RdpAccountant",
    "Receipt",
    "ReceiptError",
    "SubsampledGaussian",
    "Verified",
    "claim",
    "claim_of_settings",
    "claimed_epsilon",
    "event_from_json",
    "event_to_json",
    "joint_noise_multiplier",
    "search_epsilon",
    "verify_ledger",
]
