"""Trials that are runs of a GAN with its plan and settings changed: what they are, their training, their tables."""
