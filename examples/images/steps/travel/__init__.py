"""What the pipelines of travel do in Python."""
