"""`MixtureDenoiser`: the ideal denoiser of a class mixture, in closed form.

    record of class y:  cluster k with weight w_k, then N(m_k, S_k),   S_k = F_k F_kᵀ + v in the kept frequencies,
                        and diag(v) in the others                      (v: `privgen.methods.diffusion.floor`)
    x_σ = x + σ n:      D(x_σ, σ, y) = E[x | x_σ] = Σ_k r_k [m_k + S_k (S_k + σ²I)⁻¹ (x_σ − m_k)]
                        r_k ∝ w_k N(x_σ; m_k, S_k + σ²I)

F_k F_kᵀ is diagonalised once, F_k F_kᵀ = Q_k diag(λ_k) Q_kᵀ with few columns; because v is one number in the kept
frequencies, S_k + σ²I has the same directions at every σ, and what is left is two narrow products a cluster:

    S (S + σ²I)⁻¹ u = g u + Q [(λ + v)/(λ + v + σ²) − g] Qᵀu,      g = v/(v + σ²)

The other frequencies are the same in all clusters, so they move no r_k. Where the mixture has components B, the
same holds in their coordinates Bᵀx, and what is across B is the class's offset with variance v, the same in all
clusters too; v is then the mean variance across B that the warm start released, and not the public law's.

Guarantees: made from a `ClassMixture`, so from released statistics and public constants alone; it sees a record only
where a loss hands one in.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from privgen.methods.class_mixture.mixture import ClassMixture, cosine_basis
from privgen.methods.diffusion.floor import public_floor


class MixtureDenoiser(nn.Module):
    """(x_σ, σ, y) → the posterior mean of x, for the mixture as it was when this was made or last `update`d.

    Args:
        mixture: filled by a warm start, or not yet: then every class is black with the floor's variance.
        image_shape: (C, H, W), H = W.
    """

    basis: Tensor
    components: Tensor
    offsets: Tensor
    kept_floor: Tensor
    floor: Tensor
    log_weights: Tensor
    means: Tensor
    directions: Tensor
    spread: Tensor

    def __init__(self, mixture: ClassMixture, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.channels, self.size, self.frequencies = mixture.channels, image_shape[1], mixture.frequencies
        kept_floor, floor = public_floor(self.size, self.frequencies)
        self.register_buffer("basis", cosine_basis(self.size, self.size).float(), persistent=False)  # (H, H)
        self.register_buffer("floor", floor.float(), persistent=False)  # (H, H)
        self.register_buffer("kept_floor", torch.tensor(kept_floor), persistent=False)
        classes, clusters, length, rank = mixture.factors.shape
        if mixture.directions:
            self.register_buffer("components", torch.zeros(mixture.components.shape), persistent=False)
            self.register_buffer("offsets", torch.zeros(mixture.offsets.shape), persistent=False)
        rank = min(rank, length)
        self.register_buffer("log_weights", torch.zeros(classes, clusters), persistent=False)
        self.register_buffer("means", torch.zeros(classes, clusters, length), persistent=False)
        self.register_buffer("directions", torch.zeros(classes, clusters, length, rank), persistent=False)  # Q
        self.register_buffer("spread", torch.zeros(classes, clusters, rank), persistent=False)  # λ
        self.directed = mixture.directions > 0
        self.update(mixture)

    @torch.no_grad()
    def update(self, mixture: ClassMixture) -> None:
        """Take up the mixture as it is now, and diagonalise its covariances."""
        scale = mixture.scale
        factors = mixture.factors.double().cpu() * scale  # (classes, clusters, d, rank)
        left, stretched, _ = torch.linalg.svd(factors, full_matrices=False)
        means = mixture.centres.double().cpu() * scale
        # Images are the mixture's less 1, whose transform is its lowest frequency alone.
        shift = torch.zeros(self.channels, self.frequencies**2, dtype=torch.float64)
        shift[:, 0] = -self.size
        if self.directed:
            components = mixture.components.double().cpu()
            along = shift.flatten() @ components  # (q,)
            self.components.copy_(components)
            self.offsets.copy_(mixture.offsets.double().cpu() * scale + shift.flatten() - components @ along)
            means += along
            self._take_released_floor(mixture)
        else:
            means += shift.flatten()
        self.log_weights.copy_(mixture.weights.double().cpu().clamp_min(1e-30).log())
        self.means.copy_(means)
        self.directions.copy_(left)
        self.spread.copy_(stretched.square())

    def _take_released_floor(self, mixture: ClassMixture) -> None:
        """The public law, made as strong as what was released of the kept frequencies; black before that."""
        lawful, floor = public_floor(self.size, self.frequencies)
        strength = float(mixture.rest) * mixture.scale**2 / lawful
        if strength > 0:
            self.kept_floor.fill_(strength * lawful)
            self.floor.copy_(strength * floor)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Several noisy images of each label.

        Args:
            x: (n, K, C, H, W). sigma: (n, K), > 0. labels: (n,).

        Returns:
            (n, K, C, H, W).
        """
        kept = self.frequencies
        code = self.basis @ x @ self.basis.T  # (n, K, C, H, H)
        variance = sigma.square()[..., None, None, None]
        denoised = code * (self.floor / (self.floor + variance))
        low = code[..., :kept, :kept].flatten(2)  # (n, K, d)
        ideal = self._low(low, sigma.square(), labels).view(*code.shape[:3], kept, kept)
        # Frequencies that are kept are replaced without a change in place: vmap has no other form.
        upper = torch.cat([ideal, denoised[..., :kept, kept:]], -1)
        return self.basis.T @ torch.cat([upper, denoised[..., kept:, :]], -2) @ self.basis

    def _low(self, low: Tensor, variance: Tensor, labels: Tensor) -> Tensor:
        """low (n, K, C·F²), variance σ² (n, K) → the posterior mean, (n, K, C·F²)."""
        if not self.directed:
            return self._kept(low, variance, labels)
        along, offsets = low @ self.components, self.offsets[labels][:, None]  # (n, K, q), (n, 1, C·F²)
        across = low - along @ self.components.T - offsets
        gain = (self.kept_floor / (self.kept_floor + variance))[..., None]
        return offsets + gain * across + self._kept(along, variance, labels) @ self.components.T

    def _kept(self, low: Tensor, variance: Tensor, labels: Tensor) -> Tensor:
        """low (n, K, d), variance σ² (n, K) → the posterior mean (n, K, d): kept frequencies, or components."""
        directions, spread = self.directions[labels], self.spread[labels]  # (n, c, d, R), (n, c, R)
        offset = low[:, None] - self.means[labels][:, :, None]  # (n, c, K, d)
        along = offset @ directions  # (n, c, K, R)
        rest = (self.kept_floor + variance)[:, None, :, None]  # (n, 1, K, 1)
        total = spread[:, :, None] + rest  # (n, c, K, R): λ + v + σ²
        gain = self.kept_floor / rest
        shrink = (spread[:, :, None] + self.kept_floor) / total - gain
        # log N(low; m, S + σ²I), less what is the same in all clusters.
        square = offset.square().sum(-1) / rest[..., 0] + (along.square() * (1 / total - 1 / rest)).sum(-1)
        score = self.log_weights[labels][:, :, None] - 0.5 * (square + (total / rest).log().sum(-1))  # (n, c, K)
        responsible = torch.softmax(score, 1)[..., None]  # r_k
        means = self.means[labels][:, :, None] + gain * offset + (along * shrink) @ directions.transpose(-1, -2)
        return (responsible * means).sum(1)

    def noised_sample(self, mixture: ClassMixture, z: Tensor, labels: Tensor, normal: Tensor, sigma: float) -> Tensor:
        """A draw from the mixture with noise σ on it, (n, C, H, W): floor and noise are one Gaussian a frequency.

        Args:
            mixture: the one that this was made from. z: (n, latent) and normal: (n, C, H, W), standard normal.
        """
        wide = (self.floor + sigma**2).sqrt()
        drawn: Tensor = mixture(z, labels)
        return drawn + self.basis.T @ (wide * normal) @ self.basis
