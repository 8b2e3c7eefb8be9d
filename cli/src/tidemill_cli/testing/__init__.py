"""`tidemill test`: cases of a pipeline, run by the engine itself, without a database, Temporal or a cluster."""
