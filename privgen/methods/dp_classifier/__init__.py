"""DP-SGD of a classifier on the records themselves: what one gets without generating an image."""
