"""`side_by_side`: the sample grids of several runs in one picture, each under its run's name."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

# As base64 four thirds of it, in an HTML file that is to stay below a megabyte.
_LARGEST = 600_000
_GAP, _LINE, _ROWS = 12, 22, 8
_ACROSS = 3


def side_by_side(grids: Sequence[tuple[str, bytes]]) -> bytes | None:
    """One PNG of all grids, or None where there are none; of some 600 kB it shows fewer rows of images.

    Args:
        grids: (name, PNG of eight rows of images with gaps of two pixels, as `privgen.methods.samples` writes it).
    """
    opened = [(name, Image.open(io.BytesIO(png)).convert("RGB")) for name, png in grids]
    if not opened:
        return None
    for rows in range(_ROWS, 0, -1):
        made = _placed([(name, _first_rows(grid, rows)) for name, grid in opened])
        if len(made) <= _LARGEST or rows == 1:
            return made
    return None


def _first_rows(grid: Image.Image, rows: int) -> Image.Image:
    each = (grid.height - 2) / _ROWS
    return grid.crop((0, 0, grid.width, 2 + round(rows * each)))


def _placed(grids: Sequence[tuple[str, Image.Image]]) -> bytes:
    across = min(_ACROSS, len(grids))
    width = max(grid.width for _, grid in grids) + _GAP
    height = max(grid.height for _, grid in grids) + _GAP + _LINE
    sheet = Image.new("RGB", (across * width + _GAP, math.ceil(len(grids) / across) * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for place, (name, grid) in enumerate(grids):
        left, top = _GAP + place % across * width, _GAP + place // across * height
        # The font has no more letters, and a name must not run into the next.
        text = name.encode("ascii", "replace").decode()
        while text and draw.textlength(text, font) > grid.width:
            text = text[:-1]
        draw.text((left, top), text, fill="black", font=font)
        sheet.paste(grid, (left, top + _LINE))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
