"""JSON Schemas by which editors complete and check manifests and test files."""
