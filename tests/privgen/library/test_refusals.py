"""Bad input is one error of privgen's tree before anything is spent: no folder, no ledger, no register entry."""

import pytest
import torch
from torch import nn

from privgen import replace_batchnorm
from privgen.errors import ConfigError, DataError, PrivgenError, RunError, UnsupportedLayer


class Growing(torch.utils.data.Dataset):
    """A data set that changes its length."""

    def __init__(self, own):
        self.listed, self.more = own.Listed(), 0

    def __len__(self):
        return len(self.listed) + self.more

    def __getitem__(self, index):
        return self.listed[index % len(self.listed)]


class Restless(Growing):
    """A data set that gives another record each time."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + torch.rand(()), y


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.norm, self.out = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.norm(self.inside(x)[None])[0])


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.drop = nn.Linear(6, 2), nn.Dropout(0.1)

    def forward(self, x):
        return self.drop(self.inside(x))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(6, 2, batch_first=True)

    def forward(self, x):
        return self.rnn(x[None, None])[0][0, 0]


def compiled_inside(own):
    model = own.network()
    model[0].compile()
    return model


def refused(train, error, match, **changes):
    with pytest.raises(error, match=match) as caught:
        train(**changes)
    assert isinstance(caught.value, PrivgenError)


CASES = {
    "a loss that is no scalar": (ConfigError, "a scalar, got shape", lambda own: {"loss": lambda m, r: m(r[0])}),
    "a loss that is no tensor": (ConfigError, "a scalar, got", lambda own: {"loss": lambda m, r: 1.0}),
    "a loss that mixes": (PrivgenError, "one record", lambda own: {"loss": lambda m, r: m(r[0]).sum().item()}),
    "a loss without the model": (ConfigError, "calls none", lambda own: {"loss": lambda m, r: r[0].sum()}),
    "a loss with a batch dimension": (
        PrivgenError, "no batch dim", lambda own: {"loss": lambda m, r: m(r[0])[:, 0].sum()},
    ),
    "an optimiser over others": (
        ConfigError, "not the model's", lambda own: {"optimizer": torch.optim.SGD(own.network().parameters(), lr=0.1)},
    ),
    "no optimiser": (ConfigError, "torch.optim", lambda own: {"optimizer": "adam"}),
    "batch norm": (UnsupportedLayer, "replace_batchnorm", lambda own: {"model": Normalised()}),
    "dropout": (UnsupportedLayer, r"Dropout \(drop\)", lambda own: {"model": Dropping()}),
    "gru": (UnsupportedLayer, "rnn is GRU.*LSTM", lambda own: {"model": Recurrent()}),
    "a compiled model": (ConfigError, "before torch.compile", lambda own: {"model": torch.compile(own.network())}),
    "a layer compiled in place": (ConfigError, "before torch.compile", lambda own: {"model": compiled_inside(own)}),
    "dropout of an attention": (
        UnsupportedLayer, r"Dropout \(0\)", lambda own: {"model": nn.Sequential(nn.MultiheadAttention(6, 2, 0.1))},
    ),
    "half precision": (ConfigError, "float32", lambda own: {"model": own.network().half()}),
    "no module": (ConfigError, "Module", lambda own: {"model": nn.Identity(), "optimizer": 1}),
    "N of another plan": (DataError, "N = 500 records and the data set has 96", lambda own: {"dataset_size": 500}),
    "records of two forms": (
        DataError, "one form", lambda own: {"dataset": [(torch.zeros(6), 0), (torch.zeros(5), 0)] * 48},
    ),
    "text alone": (DataError, "no tensor", lambda own: {"dataset": ["a", "b"]}),
    "objects": (DataError, "object", lambda own: {"dataset": [(torch.zeros(6), object())]}),
    "no record": (DataError, "no record", lambda own: {"dataset": []}),
    "columns of two lengths": (ConfigError, "one length", lambda own: {"dataset": (torch.zeros(9, 6), torch.zeros(8))}),
    "a stream": (ConfigError, "map-style", lambda own: {"dataset": iter([1, 2])}),
    "a restless data set": (ConfigError, "augments", lambda own: {"dataset": Restless(own)}),
    "an id twice": (DataError, "stand more than once", lambda own: {"identity": lambda record: "same"}),
    "no such column": (ConfigError, "no column 7", lambda own: {"identity": 7}),
    "two identities": (ConfigError, "not both", lambda own: {"identity": 1, "stable_index": True}),
    "replace-one by content": (
        DataError, "replace-one", lambda own: {"neighbouring": "replace-one", "epsilon": 16.0},
    ),
    "views of nothing": (ConfigError, "views=2", lambda own: {"views": 2}),
    "canaries": (ConfigError, "canaries=64", lambda own: {"canaries": 64}),
    "an unknown argument": (ConfigError, "epsylon", lambda own: {"epsylon": 3.0}),
    "an evaluation that is none": (ConfigError, "function of the model", lambda own: {"evaluate": "accuracy"}),
    "an evaluation at no step": (ConfigError, "evaluate_every=0", lambda own: {"evaluate_every": 0}),
    "a normalisation by nothing": (ConfigError, "normalise=0", lambda own: {"normalise": 0.0}),
    "workers that are none": (ConfigError, "workers=-1", lambda own: {"workers": -1}),
    "an average that is none": (ConfigError, "ema", lambda own: {"ema": 1.5}),
    "unknown numbers": (ConfigError, "noise", lambda own: {"numbers": {"noise": ("cauchy", (2,))}}),
    "no run to resume": (RunError, "no run", lambda own: {"resume": True}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_error_and_leaves_nothing_behind(train, tmp_path, own, case):
    error, match, changes = CASES[case]
    refused(train, error, match, **changes(own))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam"])
def test_optimisers_that_cannot_be_served_are_named(train, own, name):
    model = own.network()
    refused(train, ConfigError, name, model=model, optimizer=getattr(torch.optim, name)(model.parameters()))


def test_parameters_that_no_optimiser_has_are_named(train, own):
    model = own.network()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    refused(train, ConfigError, r"2\.weight, 2\.bias.*requires_grad_", model=model, optimizer=optimizer)


def test_a_schedule_that_measures_or_is_anothers_is_refused(train, own):
    model = own.network()
    mine, other = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, own.network()))
    schedules = torch.optim.lr_scheduler
    refused(train, ConfigError, "measured", model=model, optimizer=mine, schedule=schedules.ReduceLROnPlateau(mine))
    refused(train, ConfigError, "another opt", model=model, optimizer=mine, schedule=schedules.ConstantLR(other))


def test_a_plan_beside_an_epsilon_and_neither_are_refused(train):
    refused(train, ConfigError, "not both", plan=train().plan, epsilon=3.0)
    refused(train, ConfigError, "Give epsilon=", plan=None)


def test_a_plan_of_another_method_is_refused(train):
    from planners import plan

    refused(train, RunError, "for method gan", plan=plan(epsilon=8.0, dataset_size=96, iterations=6, batch_size=24.0))


def test_several_processes_that_torchrun_did_not_start_are_refused(train, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match=r"2 processes of WORLD_SIZE do not find each other.*torchrun"):
        next(iter(train()))
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_changes_its_length_stops_before_the_next_step_is_charged(train, tmp_path, own):
    from accountant import verify_ledger

    data = Growing(own)
    steps = iter(train(dataset=data))
    next(steps)
    data.more = 1
    with pytest.raises(DataError, match="had 96 records and has 97"):
        next(steps)
    assert verify_ledger(tmp_path / "run").steps_done <= 1


def test_a_folder_that_holds_a_run_is_gone_on_with_by_word_alone(train, tmp_path, own):
    next(iter(train()))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.jsonl")}
    refused(train, RunError, "resume=True")
    refused(train, RunError, r"another plan \(.*bands 2, not 1", resume=True, bands=1)
    wide = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2))
    with pytest.raises(RunError, match="not built as"):
        next(iter(train(model=wide, resume=True)))
    with pytest.raises(RunError, match=r"begun with ema=None, not with ema=0\.5"):
        next(iter(train(ema=0.5, resume=True)))
    with pytest.raises(RunError, match="data set is not the one"):
        next(iter(train(dataset=own.records(seed=1), resume=True)))
    assert before == {path: path.read_bytes() for path in before}


def test_replace_batchnorm_makes_what_is_refused_trainable(train):
    model = replace_batchnorm(Normalised())
    assert type(model.norm) is nn.GroupNorm and model.norm.num_channels == 8
    assert len(list(train(model=model, steps=2))) == 2


def test_replace_batchnorm_keeps_scale_and_shift_and_reaches_every_layer():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Sequential(nn.BatchNorm1d(5, affine=False)))
    weight = model[1].weight
    changed = replace_batchnorm(model)
    assert changed is model and changed[1].weight is weight and changed[2][0].weight is None
    assert type(replace_batchnorm(nn.BatchNorm3d(1))) is nn.GroupNorm
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in changed.modules())
    with pytest.raises(ConfigError, match="channels"):
        replace_batchnorm(nn.LazyBatchNorm1d())


def test_a_normalisation_that_mixes_by_running_statistics_keeps_none():
    layer = replace_batchnorm(nn.InstanceNorm2d(4, track_running_stats=True))
    assert layer.running_mean is None and not layer.track_running_stats
