"""The images: built from one Dockerfile, listed by what is in them, held to a budget.

    python -m tools.images [NAME ...]

What runs here runs on the host and needs `make sync` only; what runs inside of the build's stages is in `inside/` and
needs nothing but the base image's Python.
"""
