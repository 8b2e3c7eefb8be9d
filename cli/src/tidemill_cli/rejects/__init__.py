"""`tidemill rejects`: dead letters looked at and worked on, in the metastore, with the caller's own rights there."""
