"""Every layer that a model may have: exact against one backward a record, by the fast way where there is one."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from privgen.errors import UnsupportedLayer
from privgen.gradients import graph_checks
from privgen.gradients.attention import dense_attention, is_dense_attention
from privgen.gradients.clipped_sums import private_sums

UNIT = 2.0**-30


class Tied(nn.Module):
    """Embedding and output share a matrix."""

    def __init__(self):
        super().__init__()
        self.inside, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.inside.weight

    def forward(self, words):
        return self.out(torch.tanh(self.inside(words)))


class Attention(nn.Module):
    """scaled_dot_product_attention over heads, with a residual and a norm."""

    def __init__(self, norm=nn.LayerNorm):
        super().__init__()
        self.norm, self.inside, self.out = norm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(-3, -2) for t in self.inside(self.norm(x)).chunk(3, -1))
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(found.transpose(-3, -2).flatten(-2))


class Heads(nn.Module):
    """MultiheadAttention of a sequence with itself."""

    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Across(nn.Module):
    """A sequence that looks at another one, under a causal mask and a mask of its keys; weights are used."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.register_buffer("causal", torch.triu(torch.ones(4, 4, dtype=torch.bool), 1))
        self.register_buffer("last", torch.tensor([[False, False, True, False]]))

    def forward(self, x):
        x = x.transpose(0, 1)
        other = torch.tanh(x)
        found, weights = self.attention(x, other, other, key_padding_mask=self.last, attn_mask=self.causal)
        return found.transpose(0, 1) + weights.sum(-2)[..., None]


class Adapted(nn.Module):
    """A frozen layer with a trained correction of low rank beside it, as LoRA has it."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(8, 6).requires_grad_(False)
        self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 6, bias=False)

    def forward(self, x):
        return self.base(x) + 0.5 * self.up(self.down(x))


class Token(nn.Module):
    """A token and positions of its own before two layers, and a scale that is used twice."""

    def __init__(self):
        super().__init__()
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(5, 8))
        self.scale, self.frozen = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(8), requires_grad=False)
        self.inside, self.out = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.scale * self.places
        return self.out(self.scale * torch.tanh(self.inside(x * self.frozen)))


class Alone(nn.Module):
    """Parameters of its own and nothing else."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 8))

    def forward(self, x):
        return x @ self.weight.mT


class Borrowing(nn.Module):
    """A parameter of its own that a layer has too."""

    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(8, 8)
        self.again = self.inside.weight

    def forward(self, x):
        return torch.tanh(self.inside(x)) @ self.again


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


def half_frozen():
    net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2))
    net[0].requires_grad_(False)
    return net


def normal(*shape):
    return lambda: torch.randn(5, *shape)


def words():
    return torch.randint(0, 7, (5, 3))


FAST = {
    "linear": (lambda: nn.Linear(8, 3), normal(8)),
    "linear of positions": (lambda: nn.Linear(8, 3), normal(4, 8)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3), normal(3, 9)),
    "conv1d, stride and dilation": (lambda: nn.Conv1d(3, 4, 2, stride=2, padding=1, dilation=2), normal(3, 9)),
    "conv2d": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1), normal(2, 6, 5)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 4, 3, stride=2, output_padding=1), normal(3, 5)),
    "transposed 2d": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), normal(2, 4, 3)),
    "conv3d": (lambda: nn.Conv3d(2, 3, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 1)), normal(2, 3, 4, 3)),
    "conv3d, dilated": (lambda: nn.Conv3d(2, 3, 2, dilation=(1, 2, 1)), normal(2, 3, 4, 3)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2, stride=2, output_padding=1, padding=1), normal(2, 2, 3, 2)),
    "group norm": (lambda: nn.GroupNorm(2, 4), normal(4, 5)),
    "layer norm": (lambda: nn.LayerNorm(8), normal(3, 8)),
    "rms norm": (lambda: nn.RMSNorm(8), normal(3, 8)),
    "rms norm over two": (lambda: nn.RMSNorm((3, 8), eps=1e-3), normal(2, 3, 8)),
    "instance norm 1d": (lambda: nn.InstanceNorm1d(4, affine=True), normal(4, 6)),
    "instance norm 2d": (lambda: nn.InstanceNorm2d(4, affine=True, eps=1e-2), normal(4, 3, 5)),
    "instance norm 3d": (lambda: nn.InstanceNorm3d(2, affine=True), normal(2, 3, 2, 3)),
    "embedding": (lambda: nn.Embedding(7, 4), words),
    "tied": (Tied, words),
    "frozen": (half_frozen, normal(8)),
    "attention": (Attention, normal(4, 8)),
    "heads": (Heads, normal(4, 8)),
    "heads without biases": (lambda: Heads(bias=False), normal(4, 8)),
    "heads across": (Across, normal(4, 8)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=True), normal(4, 8),
    ),
    "token and positions": (Token, normal(4, 8)),
    "parameters of its own alone": (Alone, normal(8)),
    "low rank beside frozen": (Adapted, normal(8)),
    "attention with rms norm": (lambda: Attention(nn.RMSNorm), normal(4, 8)),
}  # fmt: skip
SLOW = {
    "a parameter of its own and of a layer": (Borrowing, normal(8)),
    "conv3d of groups": (lambda: nn.Conv3d(2, 4, 2, groups=2), normal(2, 3, 4, 3)),
    "conv1d of groups": (lambda: nn.Conv1d(4, 4, 3, groups=2), normal(4, 9)),
    "heads with key biases": (lambda: Heads(add_bias_kv=True), normal(4, 8)),
    "lstm": (Remembering, normal(4, 8)),
}  # fmt: skip


def loss_of(net):
    """A loss whose gradient is of all sizes, of one record in rows of one."""

    def loss(x):
        made = net(x[None])
        places = torch.arange(1, made.numel() + 1, dtype=made.dtype).view(made.shape)
        return (torch.sin(places) * made + made.square()).sum()

    return loss


def exact(net, x, loss):
    """The sums are those of one backward a record, and no norm is below its gradient's."""
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    found = private_sums(net, loss, (x,), lambda norms: (torch.full_like(norms, 1 / UNIT),), physical_batch=32)
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in named.items()}
    for i, record in enumerate(x):
        gradients = torch.autograd.grad(loss(record), list(named.values()))
        norm = torch.cat([g.flatten() for g in gradients]).double().norm()
        assert float(found.norms[i]) == pytest.approx(float(norm), rel=1e-4)
        for name, g in zip(named, gradients, strict=True):
            total[name] += g.double()
    assert set(found.sums[0]) == set(named)
    for name, wanted in total.items():
        scale = float(wanted.abs().max()) + 1e-3
        assert float((found.sums[0][name] * UNIT - wanted).abs().max()) < 3e-5 * scale, name


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    monkeypatch.setattr(graph_checks, "_warned", set())
    torch.manual_seed(0)


def randomised(net):
    """No scale is one and no shift is zero, so that each shows."""
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return net


@pytest.mark.parametrize("layer", FAST)
def test_the_fast_way_is_exact(layer):
    make, records = FAST[layer]
    net = randomised(make())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="No fast")
        warnings.filterwarnings("error", message="There is a performance drop")
        exact(net, records(), loss_of(net))


@pytest.mark.parametrize("layer", ["conv1d", "transposed 1d", "rms norm", "instance norm 2d", "conv2d", "conv3d"])
def test_a_layer_that_is_called_without_rows_is_exact_too(layer):
    make, records = FAST[layer]
    net = randomised(make())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="No fast")
        exact(net, records(), lambda x: loss_of(lambda rows: net(rows[0]))(x))


@pytest.mark.parametrize("layer", SLOW)
def test_the_slow_way_says_so_and_is_exact(layer):
    make, records = SLOW[layer]
    net = randomised(make())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        exact(net, records(), loss_of(net))
    assert sum("No fast per-record gradient" in str(w.message) for w in said) == 1


@pytest.mark.parametrize("layer", [nn.GRU(8, 3), nn.RNN(8, 3), nn.GRUCell(8, 3), nn.LSTMCell(8, 3)])
def test_what_torch_cannot_run_a_record_at_a_time_is_refused_by_name_with_the_remedy(layer):
    with pytest.raises(UnsupportedLayer, match=rf"Layer 0 is {type(layer).__name__}.*nn\.LSTM"):
        private_sums(nn.Sequential(layer), lambda x: layer(x)[0].sum(), (torch.zeros(2, 8),), lambda n: (n,))


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bias": False}, {"dropout": 0.5}])
def test_attention_out_of_dense_layers_is_torchs_own(options):
    layer = randomised(nn.MultiheadAttention(8, 2, **options)).eval()
    x, other = torch.randn(3, 5, 8), torch.randn(3, 5, 8)
    mask, padding = torch.randn(5, 5), torch.zeros((3, 5) if options.get("batch_first") else (5, 3))
    if not options.get("batch_first"):  # the records stand second
        mask = torch.randn(3, 3)
    padding[0, 1] = -torch.inf

    def alone(*sequences):
        one, two = (s[0] if options.get("batch_first") else s[:, 0] for s in sequences)
        return one, two, one

    for asked in ({}, {"average_attn_weights": False}, {"need_weights": False}, {"attn_mask": mask}):
        for given in ((x, x, x), (x, other, other), (x, other, x), alone(x, other)):
            beside = asked if given[0].dim() == 2 else {**asked, "key_padding_mask": padding}
            with dense_attention(layer):
                found = layer(*given, **beside)
            for own, wanted in zip(found, layer(*given, **beside), strict=True):
                assert own is wanted is None or torch.allclose(own, wanted, atol=1e-5)
    assert "forward" not in vars(layer)


def test_attention_that_draws_is_not_taken_for_one_that_does_not():
    assert not is_dense_attention(nn.MultiheadAttention(8, 2, dropout=0.5))
    assert not is_dense_attention(nn.MultiheadAttention(8, 2, kdim=4))


def test_a_model_that_peft_adapts_on_a_frozen_base_has_the_fast_way():
    """Skipped where peft is not installed: no extra has it; `Adapted` above is the same without it."""
    peft = pytest.importorskip("peft")
    base = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    net = randomised(peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["0", "2"], lora_dropout=0.0)))
    assert not any(p.requires_grad for name, p in net.named_parameters() if "lora" not in name)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="No fast")
        exact(net, torch.randn(5, 8), loss_of(net))
