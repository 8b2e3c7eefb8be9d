"""What every part of Tidemill agrees on: the kinds, the names, the messages, the errors.

This package does no I/O and imports pydantic and the standard library only.
"""
