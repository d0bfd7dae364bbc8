"""The table of the quantile and its proof: certified pieces, and a proof that turns red when it should."""

import importlib.util
import math
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

from privgen.mechanism import normal_quantile
from privgen.mechanism.normal_quantile import DEGREE, OCTAVES, PIECES, digest, table

ROOT = Path(__file__).parents[3]
# Both ends of every fourth octave, the very first and last piece, and some in between.
SAMPLE = [(octave, piece) for octave in range(0, OCTAVES, 4) for piece in (0, 29, PIECES - 1)] + [(27, 63), (27, 0)]


@pytest.fixture(scope="module")
def certifier():
    flint = pytest.importorskip("flint")
    spec = importlib.util.spec_from_file_location("certify", ROOT / "scripts/certify_normal_quantile.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["certify"] = module  # where dataclass looks it up
    spec.loader.exec_module(module)
    before, flint.ctx.prec = flint.ctx.prec, module.PRECISION
    yield module
    flint.ctx.prec = before
    del sys.modules["certify"]


def row_of(octave, piece):
    return [float(value) for value in table()[octave * PIECES + piece]]


class TestCertificate:
    @pytest.mark.parametrize(("octave", "piece"), SAMPLE)
    def test_the_radius_covers_approximation_rounding_and_width(self, certifier, octave, piece):
        *coefficients, radius = row_of(octave, piece)
        assert certifier.certify(octave, piece, coefficients).total <= certifier.arb(radius)

    @pytest.mark.parametrize(("octave", "piece"), [(0, 0), (3, 40), (27, 5)])
    def test_a_radius_a_thousandth_smaller_is_not_proven(self, certifier, octave, piece):
        *coefficients, radius = row_of(octave, piece)
        assert not certifier.certify(octave, piece, coefficients).total <= certifier.arb(radius * 0.999)

    @pytest.mark.parametrize("which", range(DEGREE + 1))
    def test_another_coefficient_is_not_proven(self, certifier, which):
        *coefficients, radius = row_of(2, 17)
        coefficients[which] += 1e-15 * 2**which
        assert not certifier.certify(2, 17, coefficients).total <= certifier.arb(radius)

    def test_another_piece_is_not_proven(self, certifier):
        *coefficients, radius = row_of(2, 17)
        assert not certifier.certify(2, 18, coefficients).total <= certifier.arb(radius)

    def test_the_kept_output_is_of_this_table(self):
        kept = (ROOT / "docs/proofs/normal_quantile.txt").read_text(encoding="utf-8")
        assert digest(table()) in kept and "every piece: radius >= A + E + W" in kept
        assert kept.count(f"{PIECES}/{PIECES}") == OCTAVES

    def test_taylor_series_of_balls_encloses_derivatives(self, certifier):
        """x‴ = x′³(1 + 2x²), by hand from x″ = x·x′²."""
        arb = certifier.arb
        third = certifier.series(arb(2), arb(-3), 4)[3] * 6
        assert third.contains(arb(-27 * 9))

    def test_changing_basis_and_back_is_the_identity(self, certifier):
        arb = certifier.arb
        coefficients = [arb(c) for c in (1, -2, 3, 5, -7, 11, 13)]
        back = certifier.monomials(certifier.chebyshev(coefficients))
        assert all(b.contains(c) for b, c in zip(back, coefficients, strict=True))
        # T_k(1) = 1 at t = 1/2
        assert sum(certifier.chebyshev(coefficients), arb(0)).contains(
            sum(c / 2**k for k, c in enumerate(coefficients))
        )


class TestTable:
    def test_it_is_within_its_radius_of_mpmath(self):
        generator = np.random.default_rng(51)
        for octave, piece in [*SAMPLE, (0, PIECES - 1)]:
            *coefficients, radius = row_of(octave, piece)
            for t in (-0.5, 0.5, *(generator.integers(-(2**52), 2**52, 3) * 2.0**-53)):
                computed = 0.0
                for c in reversed(coefficients):
                    computed = c + t * computed
                with mpmath.workdps(40):
                    p = mpmath.ldexp((PIECES + piece + mpmath.mpf("0.5") + mpmath.mpf(float(t))) / 128, -octave - 1)
                    exact = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * p)
                    assert abs(exact - computed) <= radius

    def test_radii_are_small(self):
        """What makes leaving a word open rare: two units in the last place, and the width of 63 bits far out."""
        radii = table()[:, -1].reshape(OCTAVES, PIECES).max(axis=1)
        assert np.all(radii[:10] < 1e-15) and np.all(radii < 3e-12)

    def test_nothing_underflows(self):
        """t is 0 or at least 2^-57, and with this least coefficient no step of Horner's rule comes near 2^-1022."""
        assert np.min(np.abs(table()[table() != 0])) > 2.0**-60

    def test_another_table_is_refused(self, tmp_path, monkeypatch):
        other = table().copy()
        other[5, 2] = math.nextafter(other[5, 2], 1)
        np.save(tmp_path / "table.npy", other)
        monkeypatch.setattr(normal_quantile, "TABLE_PATH", tmp_path / "table.npy")
        with pytest.raises(RuntimeError, match="not the table that was certified"):
            table.__wrapped__()

    def test_it_cannot_be_written_to(self):
        with pytest.raises(ValueError, match="read-only"):
            table()[0, 0] = 1.0
