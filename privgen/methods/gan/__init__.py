"""The paper's GAN: networks, losses, what its parts ask of records, and the generator's free steps."""
