"""Deterministic code, which Temporal replays. It imports `tidemill_api`, `temporalio.workflow` and pure decisions."""
