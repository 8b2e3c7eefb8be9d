"""The operator: turns Tidemill's resources into Temporal Schedules and worker Deployments."""
