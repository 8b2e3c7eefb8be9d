"""What `tidemill new` makes: a folder for each template, as it is but for the names in it."""
