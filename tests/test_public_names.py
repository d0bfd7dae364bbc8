"""The public names that others rely on (docs/api.md), and what may not be imported."""

import subprocess
import sys

import pytest

import accountant
import privgen

CONTRACT = {
    "Budget", "EpsilonBounds", "Neighbouring", "SubsampledGaussian", "BandedGaussian", "HiddenFeedbackGaussian",
    "joint_noise_multiplier", "RdpAccountant", "PrvAccountant", "BudgetGuard", "BudgetExhausted", "Ledger",
    "verify_ledger", "Plan",
}  # fmt: skip


@pytest.mark.parametrize("module", [accountant, privgen])
def test_all_is_true_and_sorted(module):
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", sorted(set(accountant.__all__)))
def test_every_public_name_is_documented(name):
    value = getattr(accountant, name)
    assert not callable(value) or (value.__doc__ or "").strip()


def test_the_contract_is_kept():
    assert set(accountant.__all__) >= CONTRACT
    assert privgen.load_generator


def imported_by(code):
    listing = f"{code}\nimport sys\nprint(chr(10).join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["accountant", "planners"])
def test_accounting_and_planning_load_no_torch_click_or_rich(package):
    assert not imported_by(f"import {package}") & {"torch", "click", "rich", "matplotlib"}


@pytest.mark.parametrize("command", ["plan", "audit"])
def test_the_commands_plan_and_audit_load_no_torch(command):
    loaded = imported_by(
        "from privgen.cli import main\n"
        f"try:\n    main(['{command}', '--help'], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        f"import privgen.cli.{command}"
    )
    assert "torch" not in loaded
