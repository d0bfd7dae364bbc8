"""The laboratory of `tests/privgen/conftest.py`, for attacks on whole runs."""

import importlib.util
import sys
from pathlib import Path

_NAME = "privgen_laboratory"
_spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).parents[1] / "privgen" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_laboratory = importlib.util.module_from_spec(_spec)
sys.modules[_NAME] = _laboratory
_spec.loader.exec_module(_laboratory)

lab, halted_run, npz_file = _laboratory.lab, _laboratory.halted_run, _laboratory.npz_file
