"""Data sets that stay on disk: the same records and the same run, read when they are drawn and not before."""

import dataclasses
import threading
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from privgen.attacks.membership import membership_of
from privgen.data import load_data, mapped
from privgen.data.batches import DrawnImages, drawn_images, to_tensor
from privgen.data.mapped import MappedImages, map_member, taken
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.metrics.evaluation import evaluate
from privgen.metrics.protocols import PROTOCOLS
from privgen.metrics.request import METRICS, EvaluationRequest
from privgen.metrics.sources import FixedSource

CPU = torch.device("cpu")


def written(path, count=300, *, save=np.savez, side=28):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    save(path, images=images, labels=np.arange(count) % 3)
    return images


def test_a_mapped_file_holds_the_records_that_a_read_one_does(tmp_path, monkeypatch):
    written(tmp_path / "x.npz")
    whole = load_data(f"npz:{tmp_path / 'x.npz'}")
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    on_disk = load_data(f"npz:{tmp_path / 'x.npz'}")
    assert isinstance(on_disk.train.images, MappedImages) and isinstance(whole.train.images, np.ndarray)
    assert on_disk.fingerprint() == whole.fingerprint()
    for a, b in ((on_disk.train, whole.train), (on_disk.test, whole.test)):
        assert (a.ids == b.ids).all() and (a.labels == b.labels).all()
        assert np.array_equal(np.asarray(a.images), b.images)
        assert np.array_equal(a.images[3], b.images[3]) and np.array_equal(a.images[[5, 2]], b.images[[5, 2]])
        assert np.array_equal(a.images[2:9, :, 0], b.images[2:9, :, 0]) and len(a.images) == len(b.images)
        assert np.array_equal(a.subset(np.array([4, 1])).images, b.images[[4, 1]])


def test_a_compressed_a_small_and_a_transposed_array_are_read_whole(tmp_path, monkeypatch):
    images = written(tmp_path / "small.npz")
    assert map_member(tmp_path / "small.npz", "images") is None
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    written(tmp_path / "compressed.npz", save=np.savez_compressed)
    assert map_member(tmp_path / "compressed.npz", "images") is None
    np.savez(tmp_path / "columns.npz", images=np.asfortranarray(images))
    assert map_member(tmp_path / "columns.npz", "images") is None
    assert np.array_equal(map_member(tmp_path / "small.npz", "images"), images)


def test_a_large_folder_is_decoded_into_a_file_without_a_name(tmp_path, monkeypatch):
    images = written(tmp_path / "x.npz", 60)
    for row, image in enumerate(images):
        folder = tmp_path / "folder" / str(row % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{row}.png")
    whole = load_data(f"image-folder:{tmp_path / 'folder'}")
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    on_disk = load_data(f"image-folder:{tmp_path / 'folder'}")
    assert isinstance(on_disk.train.images, MappedImages)
    assert on_disk.fingerprint() == whole.fingerprint()


def test_loading_and_drawing_take_no_memory_for_what_is_not_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    written(tmp_path / "x.npz", 20_000)  # 16 MB
    tracemalloc.start()
    data = load_data(f"npz:{tmp_path / 'x.npz'}")
    data.fingerprint()
    drawn_images(data.train.images, np.arange(0, 10_000, 100), CPU)[0:100]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    identities = data.train.ids.nbytes * 20
    assert peak < 5_000_000 + identities < 16_000_000


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
@pytest.mark.parametrize("physical", [1, 7, 64])
def test_slices_of_a_drawn_batch_are_the_tensors(count, physical):
    images = np.random.default_rng(1).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    chosen = np.sort(np.random.default_rng(2).permutation(150)[:count])
    rows = np.arange(199, 49, -1)
    drawn = drawn_images(MappedImages(images, rows), chosen, CPU)
    expected = to_tensor(images[rows][chosen], CPU)
    assert len(drawn) == count
    for at in range(0, count, physical):
        assert torch.equal(drawn[at : at + physical], expected[at : at + physical])
    assert drawn[0:0].shape == (0, 3, 4, 4)


class Slow:
    """Images whose later rows are not read before somebody allows it."""

    shape, dtype, ndim = (100, 2, 2, 1), np.dtype(np.uint8), 4

    def __init__(self):
        self.allowed = threading.Event()

    def __getitem__(self, rows):
        if rows.min() >= 32:
            assert self.allowed.wait(30)
        return np.full((len(rows), 2, 2, 1), rows.min(), np.uint8)


def test_the_first_rows_are_there_while_later_ones_are_still_read():
    slow = Slow()
    drawn = DrawnImages(MappedImages(slow, np.arange(100)), np.arange(100), CPU)
    assert len(drawn[0:32]) == 32
    assert not slow.allowed.is_set()
    slow.allowed.set()
    assert float(drawn[40:41].mean()) == pytest.approx(32 / 127.5 - 1)


def test_a_row_that_cannot_be_read_stops_the_step():
    class Broken(Slow):
        def __getitem__(self, rows):
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        DrawnImages(MappedImages(Broken(), np.arange(5)), np.arange(5), CPU)[0:5]


def test_a_run_from_disk_is_the_run_from_memory_and_reads_nothing_before_its_step_is_admitted(
    lab, tmp_path, monkeypatch
):
    data = lab.data()
    train = data.train
    on_disk = np.memmap(tmp_path / "images", np.uint8, "w+", shape=train.images.shape)
    on_disk[:] = train.images
    rows = taken(on_disk, np.arange(len(train.labels)))
    mapped_data = dataclasses.replace(data, train=dataclasses.replace(train, images=rows))
    order = []
    getter = MappedImages.__getitem__
    monkeypatch.setattr(MappedImages, "__getitem__", lambda self, index: order.append("read") or getter(self, index))

    def trained(name, source):
        seeded = {
            "noise": lambda: ExactGaussian.insecure_fixed_seed(1),
            "beside": lambda device: RecordNumbers.insecure_fixed_seed(1, device=device),
            "latents": lambda device: torch.Generator(device=device).manual_seed(2),
            "coins": np.random.default_rng(3).bit_generator.random_raw,
        }
        with lab.begin(tmp_path / name, data=source, plan=lab.plan(feedback="none"), **seeded) as session:
            admit = session.guard.admit
            monkeypatch.setattr(
                session.guard, "admit", lambda *a, **k: order.append("admit") or admit(*a, **k), raising=False
            )
            order.clear()
            lab.take(session, 3)
            return [p.detach().clone() for p in session.state.learner.networks.critic.parameters()]

    from_disk = trained("disk", mapped_data)
    assert order[0] == "admit" and "read" in order
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(from_disk, trained("memory", data), strict=True))


def test_images_on_disk_are_evaluated_and_attacked_as_those_in_memory_are(tmp_path, monkeypatch):
    """A data set of a gigabyte or more ended both for want of `reshape` and `tobytes`."""
    images = written(tmp_path / "x.npz", 300)
    source = FixedSource(np.roll(images, 1, axis=1)[:150], np.arange(150) % 3)
    metrics = tuple(name for name in METRICS if name != "is")  # which trains a LeNet, as slow as all the others
    wanted = EvaluationRequest(
        protocol=PROTOCOLS["privgen-1"], metrics=metrics, samples=100, classifiers=("logreg",), features="pixels"
    )
    found = []
    for limit in (mapped.IN_MEMORY, 0):
        monkeypatch.setattr(mapped, "IN_MEMORY", limit)
        data = load_data(f"npz:{tmp_path / 'x.npz'}")
        assert isinstance(data.train.images, MappedImages) == (limit == 0)
        measured = evaluate(source, data, wanted)
        told = membership_of(
            "x",
            data.train.images,
            data.test.images,
            generator=lambda count, seed: source.make(count, seed).images,
            seed=1,
            generated=90,
            private=True,
        )
        found.append((measured.result, measured.closest.tobytes(), told.roc.true_positive.tolist()))
    assert found[0] == found[1]
