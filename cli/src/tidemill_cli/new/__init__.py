"""`tidemill new`: a pipeline to start from, with its pool, tests and sample data."""
