"""The method whole: plan, warm start, train, resume, canaries, audit, report, sample."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from accountant import verify_ledger
from accountant.audit.audit import audit_run
from accountant.errors import InvalidValue
from privgen.catalogue import METHODS, method_named
from privgen.errors import ConfigError, RunError
from privgen.generate import load_generator
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.diffusion.method import METHOD
from privgen.methods.diffusion.settings import DiffusionSettings
from privgen.methods.gan.method import METHOD as GAN
from privgen.report.write import write_reports
from privgen.training.loop import run
from privgen.training.method import RecordFacts

DIFFUSION = METHODS["diffusion"].planned


def settings(**changed):
    values = {
        "preset": "tiny", "mixture_clusters": 2, "mixture_frequencies": 4, "mixture_rank": 3, "sampling_steps": 2,
        "checkpoint_every": 100, "physical_batch": 32,
    }  # fmt: skip
    return DiffusionSettings(**{**values, **changed})


def begin(lab, out, *, config=None, **options):
    made = options.pop("plan", None) or lab.plan(method=DIFFUSION, iterations=6)
    return lab.begin(out, plan=made, method=METHOD, config=config or settings(), **options)


@pytest.fixture(scope="module")
def finished(lab, tmp_path_factory):
    """A run with canaries that went to its halt; only to be read."""
    out = tmp_path_factory.mktemp("diffusion") / "run"
    # At the laboratory's ε of 5 the statistics of 200 records are noise, and images come out black or white.
    with begin(lab, out, plan=lab.plan(method=DIFFUSION, iterations=6, epsilon=50.0), canaries=32) as session:
        for _ in run(session):
            pass
    return out


def learner(lab, **changed):
    facts = RecordFacts(shape=(1, 16, 16), class_names=("a", "b", "c"))
    made = lab.plan(method=DIFFUSION)
    return METHOD.begin(made, facts, settings(**changed), latents=torch.Generator().manual_seed(0))


def test_a_plan_has_one_part_and_a_warm_start_and_says_so(lab):
    made = lab.plan(method=DIFFUSION)
    assert [part.name for part in made.parts] == ["denoiser"]
    assert made.method == "diffusion" and made.to_json()["method"] == "diffusion"
    assert made.warm_start is not None and "0.5 of ε" in made.defaults["warm_start"]
    with pytest.raises(InvalidValue, match="begins from a warm start"):
        lab.plan(method=DIFFUSION, warm_start=0.0)
    with pytest.raises(InvalidValue, match="critic"):
        lab.plan(method=DIFFUSION, shares={"critic": 1.0})


def test_its_registry_entry_names_what_it_is():
    assert method_named("diffusion") is METHOD
    assert (METHOD.name, METHOD.parts) == (DIFFUSION.name, DIFFUSION.parts)
    assert METHODS["diffusion"].presets == ("tiny", "small", "large")


def test_every_release_and_step_is_charged_and_the_audit_passes(finished):
    state, audit = verify_ledger(finished), audit_run(finished)
    assert state.steps_done == state.steps_charged == 7 + 6
    assert audit.verdict == "passed"
    assert audit.state.plan.method == "diffusion"


def test_the_release_makes_images_of_each_class_that_depend_on_their_seed_alone(finished):
    generator = load_generator(finished)
    images = generator(12, seed=3)
    assert images.shape == (12, 16, 16, 1) and images.dtype == np.uint8
    again = load_generator(finished / "release")(5, labels=[0, 1, 2, 0, 1], seed=3)
    assert np.abs(again.astype(int) - images[:5]).max() <= 1
    assert len({image.tobytes() for image in images}) == 12
    about = json.loads((finished / "release" / "generator.json").read_text())
    assert about["method"] == "diffusion" and about["class_names"] == ["a", "b", "c"]
    assert (finished / "release" / "samples.png").stat().st_size > 0


def test_the_reports_name_the_part_and_the_statistics(finished):
    for path in write_reports(finished):
        text = path.read_text()
        assert "denoiser" in text and "statistics" in text


def test_canaries_are_felt_in_its_gradients(finished):
    from privgen.training.canaries import SCORES, Scores

    scores = Scores.read((finished / "private" / SCORES).read_bytes())
    assert scores.blocks > 0
    assert np.isfinite(scores.values).all() and np.abs(scores.values).max() > 0


def test_vectors_planted_in_the_denoisers_sum_are_felt_exactly(lab, tmp_path):
    made = lab.plan(method=DIFFUSION, iterations=6, epsilon=300.0)
    with begin(lab, tmp_path / "run", plan=made, canaries=64, canary_kind="gradient") as session:
        lab.stop_after(session, made.steps)
        included, scores = session.planted.included, session.watch.scores
    # At such an ε whoever was drawn is known; who was never drawn scores like who was not in.
    assert scores[~included].max() <= 0 < scores[included].max()
    assert session.watch.by_part.keys() == {"denoiser"}


def test_a_clean_resume_goes_on_from_the_same_mixture_and_network(lab, tmp_path):
    out = tmp_path / "run"
    with begin(lab, out) as session:
        lab.stop_after(session, 8)
        before = {n: t.clone() for n, t in session.state.learner.denoiser.state_dict().items()}
        given = (torch.randn(2, 1, 16, 16), torch.tensor([0.3, 2.0]), torch.tensor([0, 1]))
        made = session.state.learner.averaged(*given)
    with lab.resume(out, method=METHOD) as session:
        resumed = session.state.learner
        for name, tensor in resumed.denoiser.state_dict().items():
            assert torch.equal(tensor, before[name]), name
        # The ideal denoiser is made of the mixture again.
        assert torch.allclose(resumed.averaged(*given), made, atol=1e-5)
        for _ in run(session):
            pass
    assert verify_ledger(out).steps_charged == 13
    assert audit_run(out).verdict == "passed"


@pytest.mark.parametrize("killed_after", [2, 9])
def test_a_crash_in_the_warm_start_or_after_it_is_charged_and_resumed(lab, tmp_path, killed_after):
    out = tmp_path / "run"
    with begin(lab, out, plan=lab.plan(method=DIFFUSION, iterations=8, spare_blocks=2)) as session:
        lab.take(session, killed_after)
    # Two blocks of the eight steps are lost with the crash; the owner takes what is left.
    with lab.resume(out, method=METHOD, accept_loss=True) as session:
        for _ in run(session):
            pass
    # What the crash wasted stays charged, so the run may end short of the plan; never beyond its promise.
    assert audit_run(out).verdict != "failed"
    assert verify_ledger(out).steps_charged <= 7 + 8 + 2 * 4
    assert load_generator(out)(3, seed=0).shape == (3, 16, 16, 1)


def test_each_feedback_trains_it(lab, tmp_path):
    for feedback in ("none", "paper"):
        made = lab.plan(method=DIFFUSION, iterations=4, feedback=feedback)
        with begin(lab, tmp_path / feedback, plan=made, config=settings(draws=3)) as session:
            for _ in run(session):
                pass
        assert audit_run(tmp_path / feedback).verdict == "passed"


def test_a_plan_of_the_other_method_is_refused_and_nothing_is_begun_or_lost(lab, tmp_path):
    with pytest.raises(RunError, match=r"for method gan, not for diffusion"):
        lab.begin(tmp_path / "run", plan=lab.plan(), method=METHOD, config=settings())
    with pytest.raises(RunError, match=r"for method diffusion, not for gan"):
        lab.begin(tmp_path / "run", plan=lab.plan(method=DIFFUSION), method=GAN)
    assert not (tmp_path / "run").exists()


def test_settings_of_a_gan_and_images_that_no_network_serves_are_refused(lab):
    made = lab.plan(method=DIFFUSION)
    facts = RecordFacts(shape=(1, 30, 30), class_names=("a",))
    with pytest.raises(ConfigError, match="resize the images"):
        METHOD.begin(made, facts, settings(), latents=torch.Generator())
    with pytest.raises(ConfigError, match="images"):
        METHOD.begin(made, RecordFacts(shape=(7,)), settings(), latents=torch.Generator())
    with pytest.raises(ConfigError, match="settings of diffusion"):
        METHOD.begin(made, facts, lab.config(), latents=torch.Generator())
    with pytest.raises(RunError, match="begins from a warm start"):
        METHOD.require_planned(replace(made, warm_start=None))


def test_only_the_network_moves_and_the_average_follows_it(lab):
    one = learner(lab, ema_decay=0.5)
    mixture = one.denoiser.mixture.centres.clone()
    for p in one.module_of("denoiser").parameters():
        p.data.add_(1.0)
    one.free_step(0.5, 1000)
    before = learner(lab)
    moved = zip(one.averaged.network.parameters(), before.averaged.network.parameters(), strict=True)
    assert all(torch.allclose(a, b + 0.5) for a, b in moved)
    assert torch.equal(one.denoiser.mixture.centres, mixture)


def test_a_frozen_copy_keeps_its_task_while_the_other_learns(lab):
    one = learner(lab)
    torch.nn.init.normal_(one.denoiser.network.leave.weight)
    kept = one.frozen()
    record = (torch.zeros(1, 16, 16), torch.tensor(0), torch.ones(1, 1, 16, 16), torch.tensor([0.5]))
    task = kept.record_task("denoiser", RecordNumbers.insecure_fixed_seed(0))
    before = task.loss(*record).detach()
    one.denoiser.network.leave.weight.data.add_(1.0)
    assert torch.equal(task.loss(*record).detach(), before)
    assert not torch.allclose(one.record_task("denoiser", RecordNumbers()).loss(*record).detach(), before)


def test_numbers_beside_a_record_are_its_noise_levels_and_noise(lab):
    task = learner(lab, draws=3, sigma_middle=-1.0, sigma_spread=0.5).record_task(
        "denoiser", RecordNumbers.insecure_fixed_seed(0)
    )
    normal, sigma = task.beside(400)
    assert normal.shape == (400, 3, 1, 16, 16) and sigma.shape == (400, 3)
    assert float(sigma.log().mean()) == pytest.approx(-1.0, abs=0.06)
    assert float(sigma.log().std()) == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match="critic"):
        learner(lab).record_task("critic", RecordNumbers())


@pytest.mark.parametrize(
    "changed", [{"preset": "paper"}, {"rate": 0.0}, {"draws": 0}, {"ema_decay": 1.0}, {"largest_sigma": 0.01},
                {"sigma_spread": 0.0}, {"mixture_rank": 0}, {"keep_checkpoints": 1}],
)  # fmt: skip
def test_settings_out_of_range_are_named(changed):
    with pytest.raises(ConfigError, match=next(iter(changed))):
        settings(**changed)
