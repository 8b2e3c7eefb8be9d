"""`tidemill preview`: the first rows through each source and step of a pipeline."""
