"""Sinks that are files: partitions, types, staging, and the publication that makes a run's files be seen.

The books (fence, ledger, which files there are) are in the metastore, since a folder or bucket has no transactions.
"""
