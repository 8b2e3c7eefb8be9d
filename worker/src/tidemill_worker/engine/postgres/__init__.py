"""Loading into Postgres so that it happens once: fence, ledger, staging, publishing."""
