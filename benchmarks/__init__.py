"""Measured ratios; each result carries commit and hardware."""
