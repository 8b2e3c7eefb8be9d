"""`tidemill graph`: the picture of a pipeline's sources, steps, sinks and checks, drawn from its manifest."""
