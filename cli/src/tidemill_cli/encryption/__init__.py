"""`tidemill keys`, `tidemill decode` and `tidemill codec-server`: key rings, and reading what they encrypt."""
