"""The commands that need a cluster: what `kubectl tidemill` adds. All that they do goes through the Kubernetes API."""
