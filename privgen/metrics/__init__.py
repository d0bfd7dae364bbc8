"""Measures of what a generator makes; each one says by which protocol."""
