"""What the pool's pipelines can reach: folders and Postgres databases, by the names that the pool gives them."""

from tidemill_worker.connections.connections import PoolConnections
from tidemill_worker.connections.outage import outages, typed

__all__ = ["PoolConnections", "outages", "typed"]
