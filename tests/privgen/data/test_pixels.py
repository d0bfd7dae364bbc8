"""What a pixel means: each kind of file read right, or left out by name with what it holds and how to convert it."""

import warnings

import numpy as np
import pytest
from PIL import Image

from accountant.plans.public_facts import PublicFacts
from privgen.data import load_data
from privgen.data.fitting import fitted
from privgen.data.left_out import UnusableRecord
from privgen.data.pixels import read_image, size_of

# Left half dark, right half light; taller than wide.
RAMP = np.zeros((32, 20), np.uint8)
RAMP[:, 10:], RAMP[:8] = 200, 255


def kept(tmp_path, picture, name="x.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_s_orientation_is_followed(tmp_path, orientation):
    """A portrait was trained on lying on its side."""
    upright = np.repeat(RAMP[..., None], 3, axis=2)
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = kept(tmp_path, Image.fromarray(np.ascontiguousarray(turns[orientation])), exif=exif)
    assert np.array_equal(read_image(path), upright)
    assert size_of(path) == (32, 20, 3)


GREY = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)
RIGHT = {
    "grey": (lambda: Image.fromarray(GREY), "x.png", GREY),
    "jfif": (lambda: Image.new("L", (16, 16), 80), "x.jpg", np.full((16, 16), 80)),
    "pgm": (lambda: Image.fromarray(GREY), "x.pgm", GREY),
    "sixteen bits": (lambda: Image.fromarray(GREY.astype(np.uint16) * 257), "x.png", GREY),
    "sixteen bits, tiff": (lambda: Image.fromarray(GREY.astype(np.uint16) * 257), "x.tif", GREY),
    "two levels": (lambda: Image.fromarray(GREY > 99), "x.png", (GREY > 99) * 255),
    "grey and alpha": (lambda: Image.fromarray(np.stack([GREY, np.full_like(GREY, 255)], 2)), "x.png", GREY),
    "black, which is twelve bits too": (lambda: Image.new("I;16", (16, 16), 0), "x.png", np.zeros((16, 16))),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_grey_of_every_depth_is_eight_bits_by_a_constant(tmp_path, kind):
    make, name, expected = RIGHT[kind]
    found = read_image(kept(tmp_path, make(), name))
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(expected, np.uint8)[..., None])
    assert size_of(tmp_path / name) == (16, 16, 1)


def test_a_pgm_with_its_own_white_is_scaled_by_what_its_header_says(tmp_path):
    values = (np.arange(256).reshape(16, 16) * 16).astype(">u2")
    (tmp_path / "x.pgm").write_bytes(b"P5\n16 16\n4095\n" + values.tobytes())
    assert abs(read_image(tmp_path / "x.pgm")[..., 0].astype(int) - GREY).max() <= 1


COLOURS = {
    "palette": lambda: Image.new("RGB", (16, 16), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE),
    "alpha": lambda: Image.new("RGBA", (16, 16), (10, 20, 30, 255)),
    "plain": lambda: Image.new("RGB", (16, 16), (10, 20, 30)),
}


@pytest.mark.parametrize("kind", COLOURS)
def test_colours_of_every_kind_are_rgb(tmp_path, kind):
    assert (read_image(kept(tmp_path, COLOURS[kind]())) == (10, 20, 30)).all()


def test_cmyk_is_rgb_and_what_is_clear_is_white(tmp_path):
    ink = read_image(kept(tmp_path, Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "x.tif"))
    assert (ink == (0, 255, 255)).all()
    assert (read_image(kept(tmp_path, Image.new("RGBA", (16, 16), (9, 9, 9, 0)))) == 255).all()


def pages(tmp_path, name, mode="L"):
    Image.new(mode, (16, 16)).save(
        tmp_path / name, save_all=True, append_images=[Image.new(mode, (16, 16), k) for k in (1, 2)]
    )
    return tmp_path / name


REFUSED = {
    "32-bit integers": (
        lambda p: kept(p, Image.fromarray(np.arange(256, dtype=np.int32).reshape(16, 16)), "x.tif"),
        r"integers of 32 bits.* from 0 to 255, of which the file does not say what is white: convert",
    ),
    "floating point": (
        lambda p: kept(p, Image.fromarray(np.full((16, 16), 0.5, np.float32)), "x.tif"),
        r"floating-point numbers from 0\.5 to 0\.5.*convert them to 8 or 16 bits by a constant",
    ),
    "twelve bits in sixteen": (
        lambda p: kept(p, Image.fromarray(np.full((16, 16), 4095, np.uint16)), "x.png"),
        r"16 bits that end below 4096.*\(pixels >> 4\)\.astype\(numpy\.uint8\)",
    ),
    "a TIFF of three pages": (lambda p: pages(p, "x.tif"), "3 pages or frames in a TIFF: save the one"),
    "an animation": (lambda p: pages(p, "x.gif"), "3 pages or frames in a GIF"),
    "an animated PNG": (lambda p: pages(p, "x.png"), "3 pages or frames in a PNG"),
    "text": (lambda p: (p / "x.txt").write_text("x") and p / "x.txt", r"no image that can be read \(\.txt\)"),
    "a page description": (
        lambda p: (p / "x.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") and p / "x.eps",
        r"no image that can be read \(\.eps\)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_one_meaning_is_refused_by_name_with_a_remedy(tmp_path, what):
    make, reason = REFUSED[what]
    path = make(tmp_path)
    with pytest.raises(UnusableRecord, match=reason):
        read_image(path)


def test_it_is_a_white_image_and_not_a_black_one_that_is_cropped_padded_or_squashed():
    wide = np.zeros((20, 60, 1), np.uint8)
    wide[:, 20:40] = 240  # the central square
    sizes = {"shape": (16, 16, 1), "resize": 16}
    assert (fitted(wide, crop="centre", **sizes) == 240).all()
    padded = fitted(wide, crop="pad", **sizes)[..., 0]
    assert padded[:4].max() == padded[12:].max() == 0 and padded[8, 8] == 240 and padded[8, 1] == 0
    squashed = fitted(wide, crop="none", **sizes)[..., 0]
    assert (squashed[:, 8] == 240).all() and (squashed[:, 1] == 0).all()
    assert np.array_equal(fitted(wide.transpose(1, 0, 2), crop="none", **sizes)[..., 0], squashed.T)


def test_grey_is_repeated_in_three_channels_and_grey_colours_are_one():
    grey = GREY[..., None]
    colour = fitted(grey, shape=(16, 16, 3), resize=None, crop=None)
    assert np.array_equal(colour, grey.repeat(3, axis=2))
    assert np.array_equal(fitted(colour, shape=(16, 16, 1), resize=None, crop=None), grey)


def mixed(root):
    for name, sizes in (("a", [(40, 30), (40, 30), (28, 28)]), ("b", [(64, 64), (30, 40)])):
        (root / name).mkdir(parents=True)
        for row, size in enumerate(sizes * 6):
            pixels = np.random.default_rng(row).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{row}.png")
    return f"image-folder:{root}"


def test_sizes_are_listed_with_their_counts_and_the_command_that_fits(tmp_path):
    name = mixed(tmp_path / "own")
    with pytest.raises(ValueError, match="of 4 sizes") as caught:
        load_data(name)
    message = str(caught.value)
    assert "30×40 (12), 28×28 (6), 64×64 (6), 40×30 (6)" in message
    assert f"privgen plan --dataset {name} --resize 32 --crop centre (or pad, or none)" in message


@pytest.mark.parametrize("crop", ["centre", "pad", "none"])
def test_a_folder_of_any_sizes_is_loaded_in_the_stated_one(tmp_path, crop):
    name = mixed(tmp_path / "own")
    facts = PublicFacts(name="own", classes=("a", "b"), shape=(32, 32, 3), resize=32, crop=crop)
    data = load_data(name, facts=facts)
    assert data.left_out == () and len(data.train.labels) + len(data.test.labels) == 30
    assert data.train.images.shape[1:] == (32, 32, 3)


def test_links_are_followed(tmp_path):
    """A class folder on another disk was silently empty."""
    mixed(tmp_path / "disk")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a").symlink_to(tmp_path / "disk" / "a", target_is_directory=True)
    (tmp_path / "own" / "b").mkdir()
    (tmp_path / "own" / "b" / "linked.png").symlink_to(tmp_path / "disk" / "b" / "0.png")
    facts = PublicFacts(name="own", classes=("a", "b"), shape=(32, 32, 3), resize=32, crop="pad")
    data = load_data(f"image-folder:{tmp_path / 'own'}", facts=facts)
    assert np.bincount(np.concatenate([data.train.labels, data.test.labels])).tolist() == [18, 1]


def test_a_large_number_of_pixels_is_no_reason_to_fail(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(kept(tmp_path, Image.new("1", (5000, 5000)))).shape == (5000, 5000, 1)
