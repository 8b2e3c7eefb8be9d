"""The pieces of work of a run: chunks of rows, and computations over all rows. Light: imports no columnar library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tidemill_worker.engine.model import Chunk, Given

NO_STAGE: Final = -1


@dataclass(frozen=True, slots=True)
class Computation:
    """A piece of work: the answer of a step that needs all rows of its inputs. Kept in the metastore like a chunk."""

    index: int
    step: str
    inputs: tuple[Given, ...]

    @property
    def stage(self) -> int:
        """It is of no stage that rows pass chunk by chunk."""
        return NO_STAGE

    @property
    def source(self) -> str:
        """What the metastore calls it by."""
        return self.step

    @property
    def file(self) -> str:
        """It reads no file of a source."""
        return ""

    @property
    def bytes(self) -> int:
        """It reads no bytes of a source."""
        return 0

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"computation": asdict(self)}


Work = Chunk | Computation


def work_from_json(value: Mapping[str, Any]) -> Work:
    """The inverse of `to_json` of both."""
    told = value.get("computation")
    if told is None:
        return Chunk.from_json(value)
    return Computation(told["index"], told["step"], tuple(Given(**each) for each in told["inputs"]))
