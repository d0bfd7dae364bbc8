"""Experiments about the method itself, run by `privgen experiment NAME` on public data."""
