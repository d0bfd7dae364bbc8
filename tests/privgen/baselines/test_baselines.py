"""Rivals are runs like any other: planned, guarded, audited and measured; a ceiling is refused where images leave."""

import json

import pytest
import torch
from click.testing import CliRunner

from accountant.audit.audit import audit_run
from privgen.cli import main
from privgen.generate import load_generator
from privgen.methods.dp_merf.embedding import ClassEmbedding, RandomFeatures


def call(*arguments, status=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def rivals(tmp_path_factory, npz_file):
    """A quick run of each."""
    folder = tmp_path_factory.mktemp("rivals")
    for name in ("dp-gan", "dp-merf", "dp-classifier", "privacy-free"):
        call(
            "baseline", name, "--epsilon", 5, "--delta", 1e-4, "--dataset", f"npz:{npz_file}", "--quick",
            "--threads", 1, "--out", folder / name,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize("name", ["dp-gan", "dp-merf", "dp-classifier"])
def test_a_rival_keeps_its_budget_and_its_audit_passes(rivals, name):
    audit = audit_run(rivals / name)
    assert audit.verdict == "passed" and audit.guarantee.epsilon <= 5


@pytest.mark.parametrize("name", ["dp-gan", "dp-merf"])
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
