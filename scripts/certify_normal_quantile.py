"""Prove, piece by piece in ball arithmetic, how far the table of the normal quantile is from the quantile itself.

python scripts/certify_normal_quantile.py [--out docs/proofs/normal_quantile.txt] [--write]

Needs python-flint (arb). `docs/proofs/floored-gaussian.md` has the statement, the notation and the argument; in short,
for every piece of `privgen/mechanism/normal_quantile.npy`, with x(t) the upper quantile of p(t), |t| ≤ 1/2:

    A ≥ |P(t) − x(t)|       P the piece's polynomial with exactly the coefficients in the file; x by its Taylor series
                            at t = 0, whose remainder is bounded by the coefficient over the whole piece; the
                            difference in Chebyshev's basis, where it is at most the sum of absolute coefficients
    E ≥ |computed − P(t)|   Horner's rule in float64: t rounded once, every product and sum rounded once, or fused
    W ≥ |x(t) − x(t′)|      t′ the middle of an interval of 63-bit words, t anywhere in that interval

and the radius in the file must be at least A + E + W. `--write` makes the table anew; nothing in the proof trusts that.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flint import arb, ctx

from privgen.mechanism.normal_quantile import DEGREE, OCTAVES, PIECES, TABLE_PATH, digest

PRECISION = 320  # bits of arb
ORDER = 26  # Taylor's terms; the remainder is below 2^-150 everywhere
UNIT = arb(2) ** -53  # the largest relative error of one float64 operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Proven upper bounds for one piece, absolute errors of the quantile."""

    approximation: arb
    evaluation: arb
    width: arb

    @property
    def total(self) -> arb:
        """What the radius in the table must reach."""
        return self.approximation + self.evaluation + self.width


def quantile(p: arb) -> arb:
    """x with Φ(−x) = p, a ball, proven here rather than taken from arb's inverse: the tail at both ends is compared."""
    x = (arb(2).sqrt() * (2 * p.mid()).erfcinv()).mid()
    spread = p.rad() / density(x) * 2 + arb(2) ** (40 - PRECISION)
    low, high = (x - spread).lower(), (x + spread).upper()
    if not (tail(arb(low)) >= p and tail(arb(high)) <= p):
        raise ArithmeticError(f"The quantile of {p} was not enclosed.")
    return arb(low).union(arb(high))


def tail(x: arb) -> arb:
    """Φ(−x)."""
    return (x / arb(2).sqrt()).erfc() / 2


def density(x: arb) -> arb:
    """Of the standard normal."""
    return (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def series(x0: arb, slope: arb, order: int) -> list[arb]:
    """Taylor coefficients in t of x(t), whose derivatives obey x″ = x·x′² because p is linear in t. Also for balls."""
    x, y = [x0, slope], [slope]  # y = x′
    square: list[arb] = []
    for n in range(order - 1):
        square.append(sum((y[i] * y[n - i] for i in range(n + 1)), arb(0)))
        second = sum((x[i] * square[n - i] for i in range(n + 1)), arb(0))
        x.append(second / ((n + 1) * (n + 2)))
        y.append((n + 2) * x[n + 2])
    return x


def chebyshev(coefficients: list[arb]) -> list[arb]:
    """The same polynomial Σ c_k t^k on |t| ≤ 1/2 in the basis T_k(2t)."""
    result = [arb(0) for _ in coefficients]
    for c in reversed(coefficients):  # Horner: multiply by t = T_1(2t)/2, add c
        shifted = [arb(0) for _ in coefficients]
        for k, value in enumerate(result):
            if k == 0:
                shifted[1 % len(shifted)] += value / 2
            else:
                shifted[k - 1] += value / 4
                if k + 1 < len(shifted):
                    shifted[k + 1] += value / 4
        shifted[0] += c
        result = shifted
    return result


def monomials(cheb: list[arb]) -> list[arb]:
    """Back again: Σ b_k T_k(2t) as Σ c_k t^k."""
    before, now = [arb(1)], [arb(0), arb(2)]
    result = [arb(0) for _ in cheb]
    for k, b in enumerate(cheb):
        basis = before if k == 0 else now
        for i, value in enumerate(basis):
            result[i] += b * value
        if k >= 1:
            following = [arb(0)] + [4 * value for value in now]
            for i, value in enumerate(before):
                following[i] -= value
            before, now = now, following
    return result


def probability(octave: int, piece: int, t: arb) -> arb:
    """p(t) of a piece, t in [−1/2, 1/2]."""
    return (arb(PIECES + piece) + arb(1) / 2 + t) / (2 * PIECES) * arb(2) ** -(octave + 1)


def slope_of(x: arb, octave: int) -> arb:
    """dx/dt = −p′/φ(x)."""
    return -(arb(2) ** -(octave + 1)) / (2 * PIECES) / density(x)


def taylor(octave: int, piece: int) -> tuple[list[arb], arb, arb]:
    """Taylor coefficients at the centre up to ORDER − 1, a bound of the remainder on |t| ≤ 1/2, and one of |dx/dt|."""
    half = arb(1) / 2
    centre = quantile(probability(octave, piece, arb(0)))
    everywhere = quantile(probability(octave, piece, -half)).union(quantile(probability(octave, piece, half)))
    slope = slope_of(everywhere, octave)
    remainder = abs(series(everywhere, slope, ORDER)[ORDER]) * half**ORDER
    return series(centre, slope_of(centre, octave), ORDER)[:ORDER], arb(remainder.upper()), arb(abs(slope).upper())


def fit(octave: int, piece: int) -> list[float]:
    """Float64 coefficients: the Taylor polynomial cut off in Chebyshev's basis."""
    coefficients, _, _ = taylor(octave, piece)
    return [float(c.mid()) for c in monomials(chebyshev(coefficients)[: DEGREE + 1])]


def evaluation_error(coefficients: list[float]) -> arb:
    """|computed − P(t)| of h ← c_k + t·h, k downwards; t = integer·2^-57 with |t| ≤ 1/2, its rounding at most 2^-55."""
    size, error = arb(abs(coefficients[-1])), arb(0)  # |h| computed or exact, |computed − exact|
    for c in reversed(coefficients[:-1]):
        product = size / 2  # |t·h|, t rounded is still at most 1/2
        largest = (abs(arb(c)) + product) * (1 + UNIT) ** 2
        error = error / 2 + arb(2) ** -55 * size + UNIT * product + UNIT * (abs(arb(c)) + product * (1 + UNIT))
        size = largest
    return arb(error.upper())


def certify(octave: int, piece: int, coefficients: list[float]) -> Certificate:
    """The proven bounds of one piece for these coefficients.

    Args:
        octave: 0 to OCTAVES − 1, p between 2^-(octave + 2) and 2^-(octave + 1). piece: 0 to PIECES − 1 within it.
        coefficients: c_0 … c_DEGREE, float64, taken as exact numbers.
    """
    exact, remainder, slope = taylor(octave, piece)
    difference = [arb(c) - e for c, e in zip(coefficients, exact, strict=False)] + [-e for e in exact[DEGREE + 1 :]]
    distance = sum((abs(b) for b in chebyshev(difference)), arb(0))
    return Certificate(
        approximation=arb((distance + remainder).upper()),
        evaluation=evaluation_error(coefficients),
        width=slope * arb(2) ** (octave - 57),
    )


def radius(certificate: Certificate) -> float:
    """The total with a millionth to spare, as arb gives bounds in 30 bits and another version may give other ones."""
    return float(certificate.total.upper()) * (1 + 2.0**-20)


def build() -> np.ndarray:
    """The table: (OCTAVES · PIECES, DEGREE + 2), coefficients upwards and then the radius."""
    table = np.empty((OCTAVES * PIECES, DEGREE + 2))
    for row in range(len(table)):
        coefficients = fit(*divmod(row, PIECES))
        table[row] = [*coefficients, radius(certify(*divmod(row, PIECES), coefficients))]
    return table


def report(table: np.ndarray) -> tuple[list[str], bool]:
    """A line per octave with the largest of every bound, and whether every piece's radius suffices."""
    lines, passed = [], True
    for octave in range(OCTAVES):
        rows = [table[octave * PIECES + piece] for piece in range(PIECES)]
        found = [certify(octave, piece, [float(c) for c in row[:-1]]) for piece, row in enumerate(rows)]
        good = sum(bool(c.total <= arb(float(row[-1]))) for c, row in zip(found, rows, strict=True))
        passed &= good == PIECES
        bounds = [
            max(float(getattr(c, name).upper()) for c in found) for name in ("approximation", "evaluation", "width")
        ]
        lines.append(
            f"{octave:6d}  {'  '.join(f'{bound:.3e}' for bound in bounds)}  "
            f"{max(row[-1] for row in rows):.3e}  {good}/{PIECES}"
        )
    return lines, passed


def main() -> None:
    """Certify the table that is there, or make it first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to keep what is printed")
    parser.add_argument("--write", action="store_true", help="make the table anew before it is certified")
    arguments = parser.parse_args()
    ctx.prec = PRECISION
    if arguments.write:
        np.save(TABLE_PATH, build(), allow_pickle=False)
    table = np.load(TABLE_PATH, allow_pickle=False)
    lines, passed = report(table)
    text = "\n".join(
        [
            "python scripts/certify_normal_quantile.py",
            f"table: {len(table)} pieces, sha256 of its numbers {digest(table)}",
            f"arb at {PRECISION} bits, {ORDER} Taylor terms. Largest bounds in each octave, absolute:",
            "octave  A (approx)  E (rounding)  W (width)  radius   pieces proven",
            *lines,
            "every piece: radius >= A + E + W" if passed else "NOT PROVEN",
        ]
    )
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
