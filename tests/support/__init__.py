"""Real components for tests: each started once a session, when the first test asks for it."""
