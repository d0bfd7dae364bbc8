"""The paper's GAN: networks, losses and the generator's free steps."""
