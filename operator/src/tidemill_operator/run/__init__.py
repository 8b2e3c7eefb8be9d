"""`DataPipelineRun`: one workflow, started once, followed to its end."""
