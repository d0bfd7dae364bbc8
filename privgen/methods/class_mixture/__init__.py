"""The warm start: class statistics, released, and the mixture of Gaussians that they make."""
