"""The statistics of a warm start, summed over all records: integers, one record's a function of that record alone.

    means → components → rounds of clusters → covariances                (accountant.plans.warm_start has the releases)

A record is the low frequencies of an image's cosine transform, scaled so that an image's length is the root mean square
of its pixels in [0, 1]; where the plan has a margin, of the image with black laid lower; and where it has components,
after their release, its products with them. Less its centre, with a constant that counts behind, scaled down to a
length of at most C:

    u_i = min(1, C/N̂_i) (1 − 2⁻⁵⁰) · (code_i − centre, C/4)      adds trunc(u/h), or trunc(u_a u_b / h) for a ≤ b

Everything from the pixels to these integers is done record by record, in one compiled loop that sees no other record,
so it is the same bit for bit whoever else is there. What is made of the noised sums is in `mixture_fit`.

Guarantees: adding or removing one record changes `integer_sums` by a vector of L2 norm at most the release's
sensitivity, in grid steps, where numbers off a matrix's diagonal count twice: the record's class and its nearest centre
put it into one block, with ‖u‖ ≤ C and ‖u uᵀ‖ ≤ C² (docs/privacy.md, theorems 10 and 11). A record of a class that is
not listed adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accountant.plans.warm_start import WarmRelease
from privgen.gradients.kernels import compiled
from privgen.methods.class_mixture.margin import BLACK, REACH
from privgen.methods.class_mixture.mixture import ClassMixture, cosine_basis

if TYPE_CHECKING:
    from privgen.data.mapped import MappedImages

# The constant that counts, as a part of the clip norm: one record's count is noised by z / it.
COUNTING = 0.25
# Sums whose numbers stand for two equal ones of a symmetric matrix.
COUNTED_TWICE = frozenset({"above"})
_SUMS, _DIAGONAL = "sums", "diagonal"
# Records read from disk at a time.
_CHUNK = 4096


@compiled()
def _lay_lower(image, channel, margin, pixels):  # type: ignore[no-untyped-def]
    """One channel of an image into pixels (H, W) of [0, 1], black laid lower: `margin.with_margin`."""
    height, width = pixels.shape
    for h in range(height):
        for w in range(width):
            pixels[h, w] = image[h, w, channel] / 255.0
            if margin == 0.0 or image[h, w, channel] > BLACK:
                continue
            lit = 0
            for i in range(max(h - REACH, 0), min(h + REACH + 1, height)):
                for j in range(max(w - REACH, 0), min(w + REACH + 1, width)):
                    lit += image[i, j, channel] > BLACK
            pixels[h, w] -= margin * (1.0 - lit / (2 * REACH + 1) ** 2)


@compiled()
def _add_records(  # type: ignore[no-untyped-def]
    images, labels, basis, components, centres, squares, clip, step, matrices, pooled, margin, totals
):
    """Add each record's integers to totals (classes, clusters, m), or (classes, clusters, m, m) where matrices.

    components (d, m − 1), or (d, 0) where records are seen as they are; pooled: all classes in one block.
    """
    channels, height, frequencies = images.shape[3], images.shape[1], basis.shape[0]
    whole = channels * frequencies * frequencies
    length = totals.shape[-1] - 1
    scale = 1.0 / math.sqrt(images.shape[1] * images.shape[2] * channels)
    half = np.empty((frequencies, images.shape[2]))
    pixels = np.empty((height, images.shape[2]))
    code = np.empty(whole)
    u = np.empty(length + 1)
    for i in range(images.shape[0]):
        y = labels[i]
        if y < 0 or y >= centres.shape[0]:
            continue
        code[:] = 0.0
        for c in range(channels):
            half[:] = 0.0
            _lay_lower(images[i], c, margin, pixels)
            for f in range(frequencies):
                for h in range(height):
                    for w in range(images.shape[2]):
                        half[f, w] += basis[f, h] * pixels[h, w]
            for f in range(frequencies):
                at = (c * frequencies + f) * frequencies
                for w in range(images.shape[2]):
                    for g in range(frequencies):
                        code[at + g] += half[f, w] * basis[g, w]
        u[:] = 0.0
        if components.shape[1] == 0:
            for j in range(length):
                u[j] = code[j]
        else:
            for at in range(whole):
                for j in range(length):
                    u[j] += code[at] * components[at, j]
        best, least = 0, np.inf
        for k in range(centres.shape[1]):
            along = 0.0
            for j in range(length):
                along += centres[y, k, j] * (u[j] * scale)
            distance = squares[y, k] - 2.0 * along
            if distance < least:
                best, least = k, distance
        square = 0.0
        for j in range(length):
            u[j] = u[j] * scale - centres[y, best, j]
            square += u[j] * u[j]
        u[length] = COUNTING * clip
        square += u[length] * u[length]
        norm = math.sqrt(square) * (1.0 + (length + 5) * 2.0**-52)
        weight = min(1.0, clip / norm) * (1.0 - 2.0**-50)
        for j in range(length + 1):
            u[j] *= weight
        block = totals[0, 0] if pooled else totals[y, best]
        for j in range(length + 1):
            if not matrices:
                block[0, j] += np.trunc(u[j] / step)
                continue
            scaled = u[j] / step
            for other in range(j, length + 1):
                block[j, other] += np.trunc(scaled * u[other])


def integer_sums(
    release: WarmRelease,
    mixture: ClassMixture,
    images: NDArray[np.uint8] | MappedImages,
    labels: NDArray[np.int64],
    *,
    grid_step: float,
) -> dict[str, Tensor]:
    """The sums of one release over all records, before noise. The only function of a warm start that reads records.

    Args:
        images: (N, H, W, C) uint8. labels: (N,). grid_step: h, a power of two.

    Returns:
        int64, in grid steps: "sums" (classes, clusters, d + 1), one cluster for means; of covariances "diagonal"
        (classes, clusters, d + 1) and "above" (classes, clusters, (d + 1)d/2), row by row; of components the same with
        one class and cluster. d counts cosine frequencies, or after a release of components those.
    """
    centres, components = _seen_from(release, mixture)
    classes, clusters, length = centres.shape
    matrices, pooled = release.kind in ("components", "covariances"), release.kind == "components"
    blocks = (1, 1) if pooled else (classes, clusters)
    totals = np.zeros((*blocks, length + 1 if matrices else 1, length + 1))
    basis = cosine_basis(images.shape[1], mixture.frequencies).numpy()
    squares = np.square(centres).sum(2)
    for at in range(0, len(labels), _CHUNK):
        chunk = np.ascontiguousarray(images[at : at + _CHUNK])
        own = np.ascontiguousarray(labels[at : at + _CHUNK], dtype=np.int64)
        _add_records(
            chunk, own, basis, components, centres, squares, release.clip_norm, grid_step, matrices, pooled,
            float(mixture.margin), totals,
        )  # fmt: skip
    whole = torch.from_numpy(totals.astype(np.int64))
    if not matrices:
        return {_SUMS: whole[:, :, 0].clone()}
    row, column = torch.triu_indices(length + 1, length + 1, offset=1)
    (above,) = COUNTED_TWICE
    return {_DIAGONAL: whole.diagonal(dim1=2, dim2=3).clone(), above: whole[:, :, row, column]}


def _seen_from(release: WarmRelease, mixture: ClassMixture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (classes, clusters, d) in what records are seen in, and components (C·F², d), or (C·F², 0) for all."""
    centres = mixture.centres.double().cpu().numpy()
    whole, classes = mixture.channels * mixture.frequencies**2, len(centres)
    if release.kind == "means":
        return np.zeros((classes, 1, whole)), np.zeros((whole, 0))
    if release.kind == "components":  # until they are known, the offsets are the class's means
        return mixture.offsets.double().cpu().numpy()[:, None], np.zeros((whole, 0))
    if mixture.directions:
        return centres, np.ascontiguousarray(mixture.components.double().cpu().numpy())
    return centres, np.zeros((whole, 0))


def as_sums(noised: Mapping[str, Tensor], *, grid_step: float) -> Tensor:
    """Noised sums as float64: vectors (classes, clusters, d + 1), or symmetric matrices of that size.

    Args:
        noised: int64, as `integer_sums` names them. grid_step: h.
    """
    if _SUMS in noised:
        return noised[_SUMS].double() * grid_step
    (above,) = COUNTED_TWICE
    matrices = torch.diag_embed(noised[_DIAGONAL].double() * grid_step)
    row, column = torch.triu_indices(matrices.shape[-1], matrices.shape[-1], offset=1)
    values = noised[above].double() * grid_step
    matrices[..., row, column] = values
    matrices[..., column, row] = values
    return matrices
