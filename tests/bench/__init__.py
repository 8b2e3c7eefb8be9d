"""Measurements: each compares Tidemill with something known, side by side in one run."""
