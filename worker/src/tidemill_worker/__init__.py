"""The worker: runs pipelines as Temporal workflows and activities."""
