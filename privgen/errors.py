"""Every error that `privgen` raises, in one tree. The command line turns each into one red line and exit 1."""

from __future__ import annotations


class PrivgenError(Exception):
    """Base of everything raised here."""


class DataError(PrivgenError, ValueError):
    """A data set is unknown, not found, damaged, or not the one that was planned for."""


class ConfigError(PrivgenError, ValueError):
    """A training or network setting is out of range or contradicts another."""


class CheckpointError(PrivgenError):
    """A checkpoint is damaged, missing, or does not belong to this ledger."""


class RunError(PrivgenError):
    """A run folder is missing, already exists, or is not what was asked for."""


class RankLost(RunError):
    """Another process of the same training is gone, or did not answer in time; this one stops too."""


class UnsupportedLayer(PrivgenError, TypeError):
    """A layer mixes records, so that no per-record gradient exists."""


class EvaluationError(PrivgenError, ValueError):
    """An evaluation cannot be made with what was given."""
