"""`tidemill watermarks`: what sinks have of incremental sources, and having it loaded again."""
