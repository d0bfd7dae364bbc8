"""Published ε, recomputed."""
