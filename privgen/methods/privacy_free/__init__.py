"""The GAN without noise and clipping to speak of: a ceiling to compare with, whose images are not given away."""
