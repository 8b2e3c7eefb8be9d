"""Tools of the repository: set-up, generators, fetchers; no part of the distribution."""
