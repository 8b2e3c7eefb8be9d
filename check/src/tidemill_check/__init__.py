"""What a schema can't say about a manifest, decided in one place: pure functions, no I/O."""
