"""`tidemill cache`: what workers keep in Redis."""
