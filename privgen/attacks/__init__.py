"""Attacks on what privgen releases: lower bounds on ε, to hold against the certified upper bounds."""
