"""Attacks on what privgen releases: lower bounds on ε, to compare with the certified upper bounds."""
