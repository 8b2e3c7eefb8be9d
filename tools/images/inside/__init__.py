"""What runs inside of the build's stages, as programs of the base image's Python: standard library only."""
