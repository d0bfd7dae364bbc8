"""Attacks by one file that no loader expects: it contributes nothing, is named to the owner, and decides nothing else.

Once, a decoder's RuntimeError (a broken AVIF) or TypeError (a TIFF without its size), a name that is no UTF-8, and a
picture of one pixel by forty million that was to be padded to a square, each ended the run: with the record the program
failed, without it it trained. And one quotation mark that nothing closed took the twenty-five rows behind it along.
"""

import os
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from accountant.plans.public_facts import PublicFacts
from privgen.data import load_data
from privgen.data.assemble import assemble
from privgen.data.planned import private_notes
from privgen.data.torchvision_sets import _Pictures
from privgen.errors import DataError
from privgen.training.run_folder import RunFolder

FACTS = PublicFacts(name="clinic", classes=("flu", "zoster"), shape=(16, 16, 1), resize=16, crop="pad")
COUNT = 30


def some_pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (COUNT, 16, 16), dtype=np.uint8)


def folder(root):
    for row, pixels in enumerate(some_pixels()):
        place = root / FACTS.classes[row % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{row}.png")
    return root


def whose(data):
    """Of each record, in which split, its identity, class and image."""
    return {
        (part.split, key.tobytes(), int(label), image.tobytes())
        for part in (data.train, data.test)
        for key, label, image in zip(part.ids, part.labels, part.images, strict=True)
    }


def tiff_without_a_size(path):
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 259, 3, 1, 1) + struct.pack("<I", 0))


def named_in_no_utf8(path):
    (path.parent / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"?")


ODD = {
    "a TIFF that does not say its size": tiff_without_a_size,
    "a name that is no UTF-8": named_in_no_utf8,
    "too long to be padded": lambda path: Image.new("L", (40_000_000, 1)).save(path, "PNG"),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_file_contributes_nothing_and_decides_nothing(tmp_path, what):
    root = folder(tmp_path / "own")
    before = load_data(f"image-folder:{root}", facts=FACTS)
    ODD[what](root / "flu" / "odd.png")
    after = load_data(f"image-folder:{root}", facts=FACTS)
    assert whose(before) == whose(after)
    (left_out,) = after.left_out
    # What its owner is told can be shown and written anywhere.
    run = RunFolder.create(tmp_path / "run")
    run.write_source(after.source, private_notes(after, stated_size=COUNT))
    assert left_out.name.isprintable() and run.source() == after.source


@pytest.mark.parametrize("error", [RuntimeError, TypeError, IndexError, AssertionError, struct.error])
def test_whatever_a_decoder_raises_is_one_damaged_image(tmp_path, monkeypatch, error):
    root = folder(tmp_path / "own")
    whole = load_data(f"image-folder:{root}", facts=FACTS)
    real = ImageOps.exif_transpose

    def decode(image):
        if image.filename.endswith(f"{os.sep}4.png"):
            raise error("as some decoder does")
        return real(image)

    monkeypatch.setattr(ImageOps, "exif_transpose", decode)
    less = load_data(f"image-folder:{root}", facts=FACTS)
    assert whose(less) < whose(whole) and len(whose(whole)) - len(whose(less)) == 1
    assert [one.name for one in less.left_out] == ["flu/4.png"]


def test_a_broken_avif_is_one_damaged_image(tmp_path):
    root = folder(tmp_path / "own")
    before = load_data(f"image-folder:{root}", facts=FACTS)
    odd = root / "flu" / "odd.avif"
    try:
        Image.fromarray(some_pixels()[0]).save(odd)
    except (KeyError, OSError, ValueError):
        pytest.skip("this Pillow writes no AVIF")
    whole = odd.read_bytes()
    at = whole.index(b"mdat") + 4
    odd.write_bytes(whole[:at] + bytes(len(whole) - at))
    assert whose(before) == whose(load_data(f"image-folder:{root}", facts=FACTS))


def test_a_non_utf8_name_is_a_record_like_others(tmp_path):
    root = folder(tmp_path / "own")
    (root / "flu" / "0.png").rename(root / "flu" / os.fsdecode(b"\xff.png"))
    data = load_data(f"image-folder:{root}", facts=FACTS)
    assert len(whose(data)) == COUNT and not data.left_out


def manifest(root, lines):
    folder(root)
    (root / "own.csv").write_bytes(b"path,label\n" + b"".join(line + b"\n" for line in lines))
    return f"manifest:{root / 'own.csv'}"


def rows():
    return [f"{FACTS.classes[row % 2]}/{row}.png,{FACTS.classes[row % 2]}".encode() for row in range(COUNT)]


def test_one_row_that_is_no_utf8_is_left_out_alone(tmp_path):
    whole = load_data(manifest(tmp_path / "one", rows()), facts=FACTS)
    lines = rows()
    lines[5] = b"zoster/5.png,z\xf6ster"
    less = load_data(manifest(tmp_path / "other", lines), facts=FACTS)
    assert whose(less) < whose(whole) and len(less.left_out) == 1


@pytest.mark.parametrize("line", [b'zoster/5.png,"zoster', b'"zoster/5.png,zoster', b'zoster/5.png,"zoster"x'])
def test_a_quotation_mark_that_is_not_closed_takes_no_other_row_along(tmp_path, line):
    """The file is refused, as what is broken as a whole is: where the next record begins is not in it."""
    lines = rows()
    lines[5] = line
    with pytest.raises(DataError, match="Cannot read"):
        load_data(manifest(tmp_path / "own", lines), facts=FACTS)


class Torchvision:
    """As torchvision keeps pictures: decoded when they are asked for."""

    classes = FACTS.classes

    def __init__(self, labels):
        if labels == "apart":
            self.targets = [row % 2 for row in range(COUNT)]
        if labels == "with the path":
            self._samples = [(f"{row}.png", row % 2) for row in range(COUNT)]

    def __len__(self):
        return COUNT

    def __getitem__(self, row):
        if row == 4:
            raise OSError("image file is truncated")
        return Image.fromarray(some_pixels()[row]), row % 2


@pytest.mark.parametrize("labels", ["apart", "with the path", "with the picture"])
def test_a_damaged_picture_of_a_torchvision_set_is_left_out(labels):
    found = assemble(_Pictures(Torchvision(labels), "train"), FACTS)
    assert len(found.records.labels) == COUNT - 1
    assert [one.name for one in found.left_out] == ["train row 4"]
