"""Experiments about the method itself, each behind `privgen experiment NAME`. They run on public data."""
