"""A record whose own contribution is nothing moved a sum by rounding alone; integers do not round.

What it once did: a record with a gradient of zero, made of huge factors that cancel, moved a float32 sum by 2.4e-4 of
C1; and rows of a warm start were cut into chunks of 4 096 by position, so that one unit in the last place could move a
record to another cluster when somebody else came or went.
"""

import numpy as np
import pytest
import torch
from torch import nn

from accountant.plans.exact_release import grid_step_for
from accountant.plans.warm_start import WarmRelease
from privgen.gradients.clipped_sums import private_sums
from privgen.mechanism.error_feedback import banded_weights
from privgen.methods.class_mixture.class_sums import integer_sums
from privgen.methods.class_mixture.mixture import ClassMixture

STEP = 2.0**-20


def cancelling(record):
    """Two halves of positions whose gradients are opposite: (2L, d) inputs, the second half repeats the first."""
    return torch.cat([record, record])


def sums_of(net, inputs, signs, physical_batch=8):
    def loss(x, sign):
        return (net(x) * sign[:, None]).sum()

    def weighting(norms):
        return banded_weights(norms, clip_norm=1.0, residual_clip_norm=1.0, bands=4, grid_step=STEP)

    return private_sums(net, loss, (inputs, signs), weighting, physical_batch=physical_batch).sums


@pytest.mark.parametrize("scale", [1.0, 1e15, 1e30])
def test_a_record_whose_factors_cancel_moves_the_sums_by_its_own_vector_alone(scale):
    """Nothing at all where they cancel to the bit; where its own gradient rounds, by that, wherever it stands."""
    torch.manual_seed(0)
    net = nn.Linear(16, 8, bias=False)
    others = torch.randn(40, 64, 16)
    signs = torch.cat([torch.ones(32), -torch.ones(32)])
    own = cancelling(torch.full((1, 32, 16), scale)[0])[None]
    weights = torch.randn(40, 64)
    base, alone = sums_of(net, others, weights), sums_of(net, own, signs[None])
    if scale == 1.0:
        assert not any(bool(one["weight"].any()) for one in alone)
    for place in (0, 17, 40):
        more = torch.cat([others[:place], own, others[place:]])
        signed = torch.cat([weights[:place], signs[None], weights[place:]])
        for one, two, mine in zip(base, sums_of(net, more, signed), alone, strict=True):
            assert torch.equal(two["weight"] - one["weight"], mine["weight"])


def test_the_old_sum_moved_with_it():
    """Factors summed over all records' columns in float32: what cancels within a record rounds among the others'."""
    torch.manual_seed(0)
    others, outputs = torch.randn(64 * 40, 16), torch.randn(64 * 40, 8)
    own = torch.full((64, 16), 1e4)
    opposite = torch.cat([torch.ones(32, 8), -torch.ones(32, 8)])
    base = outputs.T @ others
    order = torch.stack([torch.arange(32), torch.arange(32) + 32]).T.flatten().roll(1)
    with_it = torch.cat([outputs, opposite[order]]).T @ torch.cat([others, own[order]])
    assert float((with_it - base).norm()) > 1e-4


@pytest.mark.parametrize("others", [0, 1, 4095, 4096, 4097])
def test_no_record_moves_another_to_another_cluster(others):
    """A record half-way between two centres, before and behind so many: it adds the same integers everywhere."""
    mixture = ClassMixture(classes=1, image_shape=(1, 16, 16), clusters=2, frequencies=4, latent_dim=4)
    generator = torch.Generator().manual_seed(0)
    apart = 0.1 * torch.randn(16, generator=generator)
    mixture.centres[0, 0], mixture.centres[0, 1] = apart, -apart
    release = WarmRelease(kind="clusters", clip_norm=0.25, sensitivity=0.25, noise_multiplier=1.0)
    rng = np.random.default_rng(0)
    # Black: as near to one centre as to the other, but for rounding.
    tie = np.zeros((1, 16, 16, 1), np.uint8)
    crowd = rng.integers(0, 256, (others, 16, 16, 1), dtype=np.uint8)

    def integers(images):
        labels = np.zeros(len(images), np.int64)
        return integer_sums(release, mixture, images, labels, grid_step=grid_step_for(0.25))["sums"]

    own = integers(tie)
    for images in (np.concatenate([tie, crowd]), np.concatenate([crowd, tie])):
        assert torch.equal(integers(images) - integers(crowd), own)
