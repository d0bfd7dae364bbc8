"""What is free beside the critic's noised gradient: functions of released weights, whatever the records are."""

import pytest
import torch

from accountant import BudgetGuard
from planners import plan
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.gan.gradient_penalty import penalty_gradient
from privgen.methods.gan.method import METHOD
from privgen.methods.gan.networks import NetworkConfig, build_networks
from privgen.methods.gan.settings import GanSettings
from privgen.training import private_step as steps
from privgen.training.method import RecordFacts
from privgen.training.private_step import private_step
from privgen.training.state import TrainState, begin_segment

SHAPE = (1, 28, 28)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gradient(networks=None, **changes):
    if networks is None:
        torch.manual_seed(0)
        networks = build_networks(NetworkConfig(preset="tiny", image_shape=SHAPE, classes=3, latent_dim=8))
    found = penalty_gradient(networks, seeded(), **{"images": 6, "weight": 10.0, "largest": 1e9, **changes})
    return {name: value.clone() for name, value in found.items()}


def length(gradients):
    return float(torch.cat([g.flatten() for g in gradients.values()]).norm())


def test_it_pulls_the_critics_slope_towards_one():
    torch.manual_seed(0)
    networks = build_networks(NetworkConfig(preset="tiny", image_shape=SHAPE, classes=3, latent_dim=8))
    x = (torch.rand(6, *SHAPE, generator=seeded(1)) * 2 - 1).requires_grad_(True)
    y = torch.tensor([0, 1, 2, 0, 1, 2])

    def slope():
        return float(torch.autograd.grad(networks.critic(x, y).sum(), x)[0].flatten(1).norm(dim=1).mean())

    with torch.no_grad():
        for parameter in networks.critic.score.parameters():
            parameter.mul_(20.0)
    begun = slope()
    optimiser = torch.optim.Adam(networks.critic.parameters(), lr=1e-2)
    for _ in range(60):
        for name, value in gradient(networks).items():
            networks.critic.get_parameter(name).grad = value
        optimiser.step()
    assert begun > 2
    assert abs(slope() - 1) < 0.5 * (begun - 1)


def test_its_length_follows_the_weight_up_to_the_bound():
    one, two = gradient(weight=1.0), gradient(weight=2.0)
    assert length(two) == pytest.approx(2 * length(one), rel=1e-4)
    assert length(gradient(largest=length(one) / 2, weight=1.0)) == pytest.approx(length(one) / 2, rel=1e-4)


CONSTRAINTS = ("none", "spectral-norm", "gradient-penalty")


def critic_after(monkeypatch, constraint, images, labels):
    """The critic after two steps in which the same numbers are released, whatever the records were."""
    made = plan(epsilon=10.0, dataset_size=200, batch_size=20, iterations=8, bands=2, warm_start=0.0)
    config = GanSettings(
        preset="tiny", generator_batch=4, latent_dim=8, adversarial="wasserstein", critic_constraint=constraint
    )
    learner = METHOD.begin(made, RecordFacts(shape=SHAPE, class_names=("a", "b", "c")), config, latents=seeded())
    state = TrainState(learner=learner, beside=RecordNumbers())
    phase = made.schedule()[0]
    begin_segment(state, made, made.event_of(phase))
    released = seeded(5)

    def release(sums, **options):
        return {
            part: {name: torch.randn(value.shape, generator=released) for name, value in tensors.items()}
            for part, tensors in sums.items()
        }

    with monkeypatch.context() as patched:
        patched.setattr(steps, "gaussian", release)
        guard = BudgetGuard(made.budget)
        for _ in range(2):
            private_step(
                state, made, parts=made.parts_in(phase), receipt=guard.admit(made.event_of(phase)),
                records=(images, labels), noise=ExactGaussian(),
            )  # fmt: skip
    return learner.networks.critic.state_dict()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_given_what_was_released_the_critic_does_not_depend_on_the_records(monkeypatch, constraint):
    labels = torch.tensor([0, 1, 2, 0])
    one = critic_after(monkeypatch, constraint, torch.rand(4, *SHAPE, generator=seeded(1)), labels)
    other = critic_after(monkeypatch, constraint, 1e3 * torch.randn(4, *SHAPE, generator=seeded(2)), labels.flip(0))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_power_iteration_does_not_depend_on_how_many_records_were_drawn(monkeypatch):
    few, many = (
        critic_after(monkeypatch, "spectral-norm", torch.rand(count, *SHAPE), torch.zeros(count, dtype=torch.int64))
        for count in (0, 5)
    )
    assert all(torch.equal(few[name], many[name]) for name in few)


def test_the_penalty_takes_part_in_the_critics_step(monkeypatch):
    images, labels = torch.rand(4, *SHAPE, generator=seeded(1)), torch.tensor([0, 1, 2, 0])
    without, within = (critic_after(monkeypatch, c, images, labels) for c in ("none", "gradient-penalty"))
    assert not torch.equal(without["features.convolutions.0.weight"], within["features.convolutions.0.weight"])
