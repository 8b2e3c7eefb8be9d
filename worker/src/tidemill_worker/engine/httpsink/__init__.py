"""Rows that are sent to HTTP APIs."""
