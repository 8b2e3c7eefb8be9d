"""The outside: the only imports of kubernetes.aio and temporalio.client."""
