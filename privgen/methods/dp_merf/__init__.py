"""DP-MERF: class means of random features, released once, and a generator that learns to match them for free."""
