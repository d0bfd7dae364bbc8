"""A diffusion generator over a warm start's class mixture: its ideal denoiser, and a network beside it."""
