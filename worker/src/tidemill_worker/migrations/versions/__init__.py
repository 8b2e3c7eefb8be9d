"""The revisions, one file each: `<revision>_<what>.py`."""
