"""Alerts of what operator and workers need: Temporal, databases, the cache, credentials."""

from __future__ import annotations

from typing import Final

from tools.monitoring.model import Group, Rule
from tools.monitoring.promql import CONNECTION, POOL

_CONNECTIONS: Final = "tidemill_worker_postgres_connections"

GROUP: Final = Group(
    "tidemill-dependencies",
    (
        Rule(
            "TidemillTemporalUnreachable",
            "critical",
            "5m",
            f"max by ({CONNECTION}) (tidemill_temporal_reachable) == 0",
            "The Temporal @temporal doesn't answer the operator",
            "The operator can't look at the Temporal @temporal. No run is started or seen there as long as nobody "
            "reaches it.",
        ),
        Rule(
            "TidemillPostgresUnreachable",
            "critical",
            "5m",
            f"sum by ({POOL}, connection) (increase(tidemill_worker_postgres_failures_total[3m])) > 0",
            "Workers can't reach @database",
            "Workers have failed to get a connection to @database for five minutes. Runs that need it wait and try "
            "again, until their timeout.",
        ),
        Rule(
            "TidemillCacheUnreachable",
            "warning",
            "10m",
            f'sum by ({POOL}) (increase(tidemill_worker_cache_lookups_total{{outcome="error"}}[5m])) > 0',
            "The cache of the pool @pool fails",
            "Lookups in the Redis of @pool have failed for ten minutes. Runs go on without it, slower, and ask APIs "
            "more often.",
        ),
        Rule(
            "TidemillConnectionsExhausted",
            "warning",
            "10m",
            f"max by ({POOL}, connection) (\n"
            f'  {_CONNECTIONS}{{state="used"}} / ignoring (state) ({_CONNECTIONS}{{state="most"}} > 0)\n'
            f") >= 1\nand on ({POOL}, connection) histogram_quantile(\n"
            f"  0.95, sum by ({POOL}, connection, le) (rate(tidemill_worker_postgres_wait_seconds_bucket[10m]))\n"
            ") > <connectionWait>",
            "Workers wait for connections to @database",
            "A worker uses all the connections that it may have to @database, and has to wait for each.",
        ),
        Rule(
            "TidemillSecretUnusable",
            "warning",
            "5m",
            f"max by ({POOL}, connection) (tidemill_worker_secret_unusable) == 1",
            "The Secret of `{{ $labels.connection }}` in the pool @pool can't be used",
            "The Secret of the connection `{{ $labels.connection }}` of @pool was changed to something that can't be "
            "used. Workers keep what they had; new ones can't start.",
        ),
        Rule(
            "TidemillCertificateExpires",
            "warning",
            "1h",
            f"max by ({CONNECTION}) (tidemill_temporal_certificate_expiry_timestamp_seconds)"
            " - time() < <certificateDays> * 86400",
            "The client certificate for the Temporal @temporal ends soon",
            "The client certificate for the Temporal @temporal is good for {{ $value | humanizeDuration }} more. "
            "Without a new one nobody reaches that Temporal then.",
        ),
        Rule(
            "TidemillKeyRotationUnfinished",
            "warning",
            "6h",
            "count by (namespace, job) (max by (namespace, job, key) (tidemill_operator_schedules_sealed) > 0) > 1",
            "Schedules are still sealed with an old key",
            "The input of scheduled runs has been sealed with {{ $value }} keys for six hours: a rotation doesn't come "
            "to its end. The old key can't be taken away.",
        ),
    ),
)
