"""Functions of users: found, called, interrupted, and their answers held against what the manifest says."""
