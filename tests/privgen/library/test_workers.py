"""Records are read by processes of their own: the same training, and a process that dies or fails loses nothing."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accountant import verify_ledger
from accountant.audit.audit import audit_run


def listed(own, *, beside):
    """A data set of the tiny records that calls `beside` with each index; a class of here, sent by value."""
    x, y = own.records()

    class Listed:
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            beside(index)
            return x[index], int(y[index])

    return Listed()


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])


def test_processes_read_what_the_training_itself_would_and_end_with_it(train, tmp_path, own):
    (tmp_path / "seen").mkdir()
    seen, seeded = str(tmp_path / "seen"), {"insecure_fixed_seed": 3, "feedback": "none", "bands": None}

    def beside(index):
        Path(seen, str(os.getpid())).touch()

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="A process that reads")
        there = train(dataset=listed(own, beside=beside), out=tmp_path / "there", workers=1, **seeded)
        assert len(list(there)) == 6
    (process,) = {int(path.name) for path in (tmp_path / "seen").iterdir()} - {os.getpid()}
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    here = train(dataset=listed(own, beside=lambda index: None), out=tmp_path / "here", **seeded)
    list(here)
    assert torch.equal(weights(there), weights(here))


@pytest.mark.parametrize(
    ("how", "said"), [("dies", "TerminatedWorkerError"), ("fails", "the disk of this process is gone")]
)
def test_a_process_that_dies_or_fails_loses_nothing(train, tmp_path, own, how, said):
    main = os.getpid()

    def beside(index):
        if os.getpid() != main and index > 40:
            if how == "dies":
                os._exit(1)
            raise OSError("the disk of this process is gone")

    training = train(dataset=listed(own, beside=beside), workers=1)
    with pytest.warns(UserWarning, match=f"{said}[^$]*Nothing is lost"):
        assert len(list(training)) == 6
    state = verify_ledger(tmp_path / "run")
    assert (state.steps_charged, state.crashes) == (6, 0)
    assert audit_run(tmp_path / "run").verdict == "passed"
