"""`TemporalConnection`: its credentials, and whether it leads anywhere."""
