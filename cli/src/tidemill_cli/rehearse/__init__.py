"""What `tidemill preview` and `tidemill test` share: rows from the engine, without a database and Temporal."""
