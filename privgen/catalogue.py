"""Which image shapes the networks serve; one rule for what is loaded and what is built.

>>> upsamplings(1, 28, 28), upsamplings(3, 64, 64)
(2, 3)
"""

from __future__ import annotations

EXPECTED = "1 or 3 channels and equal sides of 28, 32 or 64 (any multiple of 4 from 16 to 32, of 8 from 40 to 128)"


def upsamplings(channels: int, height: int, width: int) -> int | None:
    """How often the generator doubles the height for such images, or None if it cannot make them."""
    doublings = 2 if height <= 32 else 3
    fits = channels in (1, 3) and height == width and 16 <= height <= 128 and height % 2**doublings == 0
    return doublings if fits else None
