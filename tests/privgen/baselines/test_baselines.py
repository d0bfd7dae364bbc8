"""Rivals are runs like any other: planned, guarded, audited and measured; a ceiling is refused where images leave."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from accountant.audit.audit import audit_run
from accountant.ledger.writers import OWN_LOOP
from accountant.plans.plan import Plan
from privgen.cli import main
from privgen.errors import RunError
from privgen.generate import load_generator
from privgen.methods.dp_merf.embedding import ClassEmbedding, RandomFeatures
from privgen.methods.gs_wgan.method import METHOD
from privgen.methods.gs_wgan.share_task import ShareTask, diameter


def call(*arguments, status=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def rivals(tmp_path_factory, npz_file):
    """A quick run of each."""
    folder = tmp_path_factory.mktemp("rivals")
    for name in ("dp-gan", "dp-merf", "dp-classifier", "gs-wgan", "privacy-free"):
        call(
            "baseline", name, "--epsilon", 5, "--delta", 1e-4, "--dataset", f"npz:{npz_file}", "--quick",
            "--threads", 1, "--out", folder / name,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize("name", ["dp-gan", "dp-merf", "dp-classifier", "gs-wgan"])
def test_a_rival_keeps_its_budget_and_its_audit_passes(rivals, name):
    audit = audit_run(rivals / name)
    assert audit.verdict == "passed" and audit.guarantee.epsilon <= 5


@pytest.mark.parametrize("name", ["dp-gan", "dp-merf", "gs-wgan"])
def test_a_rivals_images_are_made_like_any_others(rivals, name):
    assert load_generator(rivals / name)(6, seed=0).shape == (6, 16, 16, 1)


def test_dp_gan_is_dp_sgd_of_the_critic_alone(rivals):
    plan = json.loads((rivals / "dp-gan/release/plan.json").read_text())
    assert (plan["feedback"], [part["name"] for part in plan["parts"]]) == ("none", ["critic"])
    assert "warm_start" not in plan


def test_dp_merf_releases_once_over_all_records(rivals):
    plan = json.loads((rivals / "dp-merf/release/plan.json").read_text())
    assert (plan["iterations"], plan["sampling_rate"]) == (1, 1.0)


def test_a_classifier_is_measured_by_its_accuracy_and_makes_no_images(rivals):
    run = rivals / "dp-classifier"
    found = json.loads(call("evaluate", run, "--json").stdout)["private_classifier"]["DP-SGD"]
    assert 0 <= found["mean"] <= 1 and found["chance"] > 0.3
    assert "classifier by DP-SGD" in call("compare", run, rivals / "dp-gan").stdout
    call("sample", run, "--out", rivals / "y.png", status=1)


def test_a_ceiling_is_measured_but_never_given_away(rivals):
    run = rivals / "privacy-free"
    audit = call("audit", run, status=1)
    assert "TRAINED WITHOUT PRIVACY" in audit.output and "Verdict: FAILED" in audit.output
    assert "WITHOUT PRIVACY" in call("sample", run, "--out", rivals / "x.npz", status=1).output
    # Its release folder alone is refused too: what refuses travels with the weights.
    assert "WITHOUT PRIVACY" in call("sample", run / "release", "--out", rivals / "x.png", status=1).output
    assert not list(rivals.glob("x.*"))
    measured = call("evaluate", run, "--metrics", "gen2real", "--samples", 100, "--classifier", "logreg", "--json")
    assert '"gen2real"' in measured.output


def test_a_ceiling_is_charged_what_it_costs_and_promises_no_more(rivals):
    audit = audit_run(rivals / "privacy-free")
    assert 1e12 < audit.guarantee.epsilon <= audit.state.budget.epsilon


def test_an_embeddings_gradient_is_the_records_features_of_length_one():
    """So that one clipped, noised step releases the class means: sensitivity 1, and no record is cut."""
    features = RandomFeatures(pixels=16, frequencies=5, length_scale=0.4, seed=0)
    embedding = ClassEmbedding(3, features)
    image = torch.rand(1, 4, 4) * 2 - 1
    embedding.record_loss(image, torch.tensor(1)).backward()
    gradient = embedding.means.weight.grad
    assert torch.allclose(-gradient[1], features(image[None])[0]) and not gradient[[0, 2]].any()
    assert float(gradient.norm()) == pytest.approx(1, abs=1e-6)


def test_released_means_are_those_of_the_classes():
    features = RandomFeatures(pixels=16, frequencies=5, length_scale=0.4, seed=0)
    embedding, images, labels = ClassEmbedding(2, features), torch.rand(8, 1, 4, 4), torch.tensor([0] * 6 + [1] * 2)
    sums = torch.zeros_like(embedding.means.weight)
    for image, label in zip(images, labels, strict=True):
        sums[label] += features(image[None])[0]
    with torch.no_grad():
        embedding.means.weight.copy_(sums / 8)
    shares, means = embedding.released()
    assert shares.tolist() == pytest.approx([0.75, 0.25])
    assert torch.allclose(means[1], features(images[6:])[:, :-1].mean(0), atol=1e-6)


def test_an_unknown_rival_is_named_with_those_that_are_known(npz_file):
    said = call("baseline", "dp-gam", "--epsilon", 5, "--dataset", f"npz:{npz_file}", status=2).output
    assert "dp-gan" in said and "dp-merf" in said


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6, float("inf")])
def test_a_shares_release_stays_in_a_ball_whatever_its_critic_says(scale):
    """So that two shares are never farther apart than 2C√n, which the plan's noise is for."""
    task = ShareTask(
        module=torch.nn.Linear(1, 1), loss=None, clip_norm=1.0, grid_step=2.0**-17,
        gradients=lambda images, labels: scale * torch.randn(32, 1, 4, 4, generator=torch.Generator().manual_seed(3)),
    )  # fmt: skip
    records = torch.zeros(5, 1, 4, 4), torch.zeros(5, dtype=torch.long)
    found = task.sums(records, lambda norms: (norms, norms), physical_batch=None)
    whole, owed = (one["pixels"] for one in found.sums)
    assert float(whole.norm()) <= 32**0.5 / 2.0**-17 and bool((whole == whole.trunc()).all())
    assert not owed.any() and 2 * float(whole.norm()) * 2.0**-17 <= diameter(1.0, 32) <= 11.32


def test_shares_take_turns_and_no_sampling_is_paid_for(rivals):
    plan = Plan.load(rivals / "gs-wgan/release/plan.json")
    assert plan.sampling_rate * plan.bands == pytest.approx(1) and plan.parts[0].clip_norm >= diameter(1.0, 32)
    (event, steps), *_ = plan.events()
    assert event.charges(steps) == steps / plan.bands
    assert METHOD.writer == OWN_LOOP
    with pytest.raises(RunError, match="take turns"):
        METHOD.require_planned(replace(plan, sampling_rate=plan.sampling_rate / 2))
