"""Tests of Tidemill; `tests.support` holds the fixtures of real components."""
