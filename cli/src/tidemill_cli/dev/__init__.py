"""`tidemill dev`: pipelines on one machine, with everything they need started as child processes."""
