"""Every error that `accountant` raises, in one tree.

Each message names the value it got, what was expected, and the remedy.

    >>> from accountant.errors import InvalidValue, AccountantError
    >>> issubclass(InvalidValue, AccountantError) and issubclass(InvalidValue, ValueError)
    True
"""

from __future__ import annotations


class AccountantError(Exception):
    """Base of everything raised here."""


class InvalidValue(AccountantError, ValueError):
    """A parameter is outside its range."""


class BudgetExhausted(AccountantError):
    """The next step would spend more than the budget; nothing has been drawn for it."""


class ReceiptError(AccountantError):
    """Noise was asked for without a receipt, twice on one, or for another event than was admitted."""


class PrvFailure(AccountantError):
    """The PRV computation has no sound answer here; the caller falls back to RDP and says so."""


class PlanError(AccountantError, ValueError):
    """A plan file is missing, damaged, of another schema, or contradicts itself."""


class PolicyError(AccountantError, ValueError):
    """A policy file is missing, damaged, or not signed by who should have signed it."""


class LedgerError(AccountantError):
    """Base of the ledger's errors."""


class LedgerBroken(LedgerError):
    """The chain does not hold: an entry was changed, dropped, added or reordered."""


class LedgerLocked(LedgerError):
    """Another process holds the ledger."""


class LedgerIncomplete(LedgerError):
    """The last line is unterminated: a write was cut short. A resume repairs it, an audit never does."""
