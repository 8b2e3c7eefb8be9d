"""The command line, `tidemill`: imports what a command needs when the command runs."""
