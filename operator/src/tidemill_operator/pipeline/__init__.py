"""`DataPipeline`: its Schedule in Temporal, a person's pauses, and what is told of its runs."""
