"""What is generated from the models: one module each, found by `tools/generate.py`.

A generator has `FOLDER`, the folder (relative to the repository) in which every file is its own, and `files()`, which
returns the text of each file by its name in that folder.  It reads nothing but the code, so that the result depends on
the code alone.
"""
