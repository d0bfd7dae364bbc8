"""The pool of generated images that critic and generator share."""

import torch

from privgen.gradients.passes import losses_of
from privgen.methods.gan.fake_pool import FakePool
from privgen.training.loop import run


def uniform(count):
    return torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_it_keeps_the_newest_of_each_class():
    pool = FakePool(classes=2, each=3)
    pool.add(torch.arange(8.0)[:, None], torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]))
    assert set(pool.matching(torch.zeros(200, dtype=torch.long), uniform(200))[:, 0].tolist()) == {2.0, 3.0, 4.0}
    pool.add(torch.tensor([[9.0]]), torch.tensor([0]))
    assert set(pool.matching(torch.zeros(200, dtype=torch.long), uniform(200))[:, 0].tolist()) == {3.0, 4.0, 9.0}
    assert set(pool.matching(torch.ones(200, dtype=torch.long), uniform(200))[:, 0].tolist()) == {5.0, 6.0, 7.0}


def test_it_is_ready_when_every_class_has_an_image():
    pool = FakePool(classes=2, each=1)
    assert not pool.ready
    pool.add(torch.zeros(1, 1), torch.tensor([1]))
    assert not pool.ready
    pool.add(torch.zeros(1, 1), torch.tensor([0]))
    assert pool.ready


def test_a_records_image_depends_on_its_own_number_and_label_alone():
    pool = FakePool(classes=3, each=50)
    pool.add(torch.arange(300.0)[:, None], torch.arange(300) % 3)
    labels = torch.tensor([0, 1, 2, 0, 1])
    others = torch.tensor([2, 2, 2, 0, 1])
    picked = pool.matching(labels, uniform(5))
    assert torch.equal(picked[3:], pool.matching(others, uniform(5))[3:])
    assert torch.equal(picked[:, 0].long() % 3, labels)


def test_an_empty_draw_takes_nothing():
    pool = FakePool(classes=1, each=1)
    pool.add(torch.zeros(1, 1, 4, 4), torch.tensor([0]))
    assert pool.matching(torch.zeros(0, dtype=torch.long), uniform(0)).shape == (0, 1, 4, 4)


def test_training_makes_images_once_for_critic_and_generator(lab, tmp_path, monkeypatch):
    made = []
    with lab.begin(tmp_path / "run", config=lab.config(generator_batch=6, fake_batches=2)) as session:
        generator = session.state.learner.networks.generator
        plain = generator.forward
        monkeypatch.setattr(generator, "forward", lambda z, *rest: (made.append(len(z)), plain(z, *rest))[1])
        reports = run(session)
        next(reports)
        first, made[:] = list(made), []
        next(reports)
    encoder = [n for n in made if n != 6]  # the reconstruction's, of the records drawn
    assert 12 in first  # the pool was filled: three classes, four images each
    assert made.count(6) >= 1 and len(encoder) <= 1


def test_the_pool_is_refreshed_while_the_generator_waits(lab, tmp_path):
    config = lab.config(generator_start=0.9, generator_batch=6, fake_batches=1)
    with lab.begin(tmp_path / "run", config=config) as session:
        reports = run(session)
        next(reports)
        before = session.state.learner.fakes._images.clone()
        next(reports)
        assert not torch.equal(before, session.state.learner.fakes._images)


def test_no_pool_makes_a_new_image_for_each_record(lab, tmp_path):
    with lab.begin(tmp_path / "run", config=lab.config(fake_batches=0)) as session:
        labels = torch.zeros(40, dtype=torch.long)
        seen = []
        critic = session.state.learner.networks.critic
        critic.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][1]))
        task = session.state.learner.record_task("critic", session.state.beside)

        def loss(*record):
            task.loss(*record)
            return seen[-1].sum()

        sums = losses_of(loss, (torch.zeros(40, 1, 16, 16), labels, *task.beside(40)))
        assert len(torch.unique(sums)) == 40
        assert not session.state.learner.fakes.ready
