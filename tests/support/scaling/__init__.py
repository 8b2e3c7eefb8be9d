"""A pool in a world of its own: loads, pods that start and end, and the scalers that decide about them.

Discrete events in simulated seconds; equal seeds give equal results. Nothing waits, nothing is measured by a clock.
"""
