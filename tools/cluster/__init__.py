"""A Kubernetes cluster of one node on a Linux machine without a container engine: `python -m tools.cluster up`.

Everything of it runs in one set of namespaces of its own (processes, mounts, network), under one process that is
their first: when that ends, the kernel ends all others and takes their mounts, interfaces and packet rules with them.
What is outside: one pair of network interfaces, one group of cgroups, and the state folder.  So two clusters of two
checkouts don't meet, and nothing that the machine runs besides is touched.

The cluster is sealed: its pods reach each other, the API server and this machine, and nothing beyond; images are
loaded.
"""
