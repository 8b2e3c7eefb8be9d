"""`WorkerPool`: its Deployment, ServiceAccount and ConfigMap."""
