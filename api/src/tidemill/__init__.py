"""What functions of yours see of Tidemill: the rows that they get, and what they can say of them.

A step of mode Batch is a function from `Batch` to an Arrow table, one of mode Whole from `Whole`:

    def enrich(batch: Batch) -> pa.Table:
        speed = pc.divide(batch.rows["distance"], batch.rows["air_time"])
        batch.reject(pc.greater(speed, 20), rule="too-fast", message="faster than any plane")
        return batch.rows.append_column("speed", speed)

They can be called in a test as well: `enrich(Batch(pa.table({...})))`. Nothing here needs a worker.
"""

from __future__ import annotations

from tidemill._sources import Source
from tidemill._steps import Batch, Context, Rejection, Rows, RowsLike, Unavailable, Whole

__all__ = ["Batch", "Context", "Rejection", "Rows", "RowsLike", "Source", "Unavailable", "Whole"]
