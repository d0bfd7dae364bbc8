"""Per-record gradients of any PyTorch module, and their clipped sums. Knows nothing of images."""
