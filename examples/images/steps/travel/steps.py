"""Steps over routes between airports. The worker has pyarrow; what else is needed stands in requirements.txt."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

from tidemill import Batch, Whole

EARTH_KM = 6371.0
FASTEST_KMH = 1100.0


def measure(batch: Batch) -> pa.Table:
    """Each route's length over the globe, in km; routes that nothing could fly so fast are rejected."""
    rows = batch.rows
    lat1, lon1, lat2, lon2 = (_radians(rows[name]) for name in ("lat", "lon", "dest_lat", "dest_lon"))
    half = pc.add(
        pc.power(pc.sin(pc.divide(pc.subtract(lat2, lat1), 2)), 2),
        pc.multiply(
            pc.multiply(pc.cos(lat1), pc.cos(lat2)), pc.power(pc.sin(pc.divide(pc.subtract(lon2, lon1), 2)), 2)
        ),
    )
    km = pc.round(pc.multiply(2 * EARTH_KM, pc.asin(pc.sqrt(half))), 1)
    speed = pc.divide(km, pc.divide(pc.cast(rows["minutes"], pa.float64()), 60))
    limit = float(batch.context.parameters.get("fastest", FASTEST_KMH))
    batch.reject(pc.greater(speed, limit), rule="too-fast", message="the time in the air can't be true")
    return rows.append_column("km", km)


def rank(whole: Whole) -> pa.Table:
    """How likely a traveller who takes any next flight is to be at each airport (PageRank): it needs all routes."""
    routes = sorted(zip(whole.rows["origin"].to_pylist(), whole.rows["dest"].to_pylist(), strict=True))
    airports = sorted({airport for route in routes for airport in route})
    leaving = {airport: [dest for origin, dest in routes if origin == airport] for airport in airports}
    share = dict.fromkeys(airports, 1 / max(1, len(airports)))
    for _ in range(50):
        moved = dict.fromkeys(airports, 0.15 / max(1, len(airports)))
        for airport in airports:
            for dest in leaving[airport] or airports:
                moved[dest] += 0.85 * share[airport] / len(leaving[airport] or airports)
        share = moved
    return pa.table({"airport": airports, "share": [round(share[airport], 6) for airport in airports]})


def _radians(degrees: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.multiply(degrees, math.pi / 180)
