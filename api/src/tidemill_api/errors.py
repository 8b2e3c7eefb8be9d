"""Everything that can go wrong, as one tree. Each leaf says whether a retry can help.

TidemillError
├── SpecError            the manifest must be edited
│   └── SQLError         a query doesn't parse, reaches outside its inputs, or depends on chance
├── DataError            the data must be mended, or the manifest
│   ├── SourceMissing    no file matches
│   ├── SourceUnreadable truncated, corrupt, wrong compression or encoding as a whole
│   ├── SourceChanged    a file isn't what the run planned any more: only the next run plans it anew
│   ├── PagingBroken     pages of an API go in a circle, don't end, or aren't what the manifest says
│   ├── ColumnMissing    a declared column isn't in the file
│   ├── NewColumn        a file has a column that the contract refuses
│   ├── BadRow           a row is bad and the manifest says Fail
│   ├── ToleranceExceeded
│   ├── DeadLetterFull   more rejected rows than deadLetter.maxRows: kept ones must be looked after first
│   ├── StepFailed       a query failed on the data (division by zero, overflow), or needs more memory than there is
│   ├── PythonFailed     a function of the pipeline's author raised, or gave what it must not
│   └── ArtifactGone     rows that passed between stages aren't there any more: the run must begin anew
├── SinkError
│   ├── TableMissing     createTable: Never, and there is none
│   ├── TableMismatch    the table's columns don't fit the rows
│   ├── SinkRefused      Postgres refuses the rows (a constraint, a right)
│   ├── OlderThanPublished  Replace by a run older than what the table holds
│   └── CheckFailed      a check of the pipeline with severity Error doesn't hold of the sink's table
├── Fenced               a newer execution of the run key has taken over: this one must do nothing
├── ReprocessRefused     the run key was processed before and can't be again
├── ReplayRefused        dead letters can't be replayed: the message says which, why, and what to do
├── WatermarkMoved       another run has loaded the same files meanwhile: nothing was published
├── WatermarksApart      sinks of an incremental source have different files of it: the message says what to do
├── BackfillRefused      a range can't be backfilled: it names no time, or too many
├── NotificationRefused  a message about a run wasn't taken, and won't be
├── BackfillIncomplete   a backfill has ended, and some of its runs have failed
├── ConfigError          the worker's own configuration
│   ├── UnknownConnection
│   ├── SecretMissing    a Secret's key isn't mounted (yet)
│   ├── StoreDenied      an object store refuses the connection's keys, or what is asked of it
│   ├── BucketMissing    an object store has no such bucket
│   ├── HTTPDenied       a web server refuses the connection's headers, or what is asked of it
│   ├── HostRefused      a web server leads to what the pool's connection doesn't give: another host, another path
│   └── EncryptionError  what Temporal keeps can't be encrypted or read
│       ├── KeyRingInvalid  the folder with the keys isn't what it must be (yet)
│       ├── UnknownKey      encrypted with a key that isn't in the ring
│       └── Undecipherable  the key of that name doesn't fit: another key, another namespace, or changed bytes
├── Unavailable          an outage: a retry can help
│   ├── PostgresUnavailable
│   ├── TemporalUnavailable
│   ├── HTTPUnavailable  a web server can't be reached, is overloaded, or breaks off its answer
│   ├── StoreUnavailable an object store can't be reached, or fails
│   │   └── StoreThrottled  it asks for fewer requests
│   ├── ArtifactsUnavailable  the place for what passes between stages can't be read or written
│   ├── PythonUnavailable  a function of the pipeline's author says that something it needs doesn't answer
│   └── WorkerLost       workers died, or said nothing any more, while they had the work
├── RunTimeout           the run took longer than execution.timeout
├── Overlap              another run of the pipeline has the slot, and the policy skips this one
├── Terminated           somebody ended the run's workflow from outside, without letting it clean up
└── Internal             a fault of Tidemill or of a library; the worker's log has the stack
"""

from __future__ import annotations

from typing import ClassVar


class TidemillError(Exception):
    """Base of all domain errors. `retryable`: trying the same again, unchanged, can succeed.

    The message names what is wrong and what would be right; it never holds values of rows or secrets.
    """

    retryable: ClassVar[bool] = False

    @property
    def type(self) -> str:
        """The error's name as Temporal, status and metrics show it."""
        return type(self).__name__


class SpecError(TidemillError):
    """The manifest must be edited. `field` is the path of the field at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class SQLError(SpecError):
    """A query doesn't parse, reaches outside its inputs, or depends on chance or on the order of rows."""


class DataError(TidemillError):
    """The data must be mended, or the manifest."""


class SourceMissing(DataError):
    """No file matches the path."""


class SourceUnreadable(DataError):
    """A file is truncated, corrupt, or not what its name or the manifest says."""


class SourceChanged(DataError):
    """A file isn't what the run planned any more: it changed, shrank or went. A run after this one plans it anew."""


class PagingBroken(DataError):
    """The pages of an API go in a circle, don't end, or their answers aren't what the manifest says."""


class ColumnMissing(DataError):
    """A declared column isn't in the file."""


class NewColumn(DataError):
    """A file has a column that the contract refuses."""


class BadRow(DataError):
    """A row is bad and the manifest says Fail."""


class ToleranceExceeded(DataError):
    """More bad rows than errorTolerance allows, or all of them."""


class DeadLetterFull(DataError):
    """There is no room for more rejected rows, and none is dropped."""


class StepFailed(DataError):
    """A query failed on the data, or needs more memory or disk than a step may have."""


class PythonFailed(DataError):
    """A function that a step or source names can't be found, raised, or gave what it must not.

    `detail` are an exception's own words: they may hold values of rows, so they are for whoever runs the function on a
    machine of his own, and no part of the message.
    """

    def __init__(self, who: str, message: str, detail: str = "") -> None:
        """`who` is `step enriched`, or `source orders`."""
        super().__init__(f"{who}: {message}")
        self.step = who.rpartition(" ")[2]
        self.detail = detail


class ArtifactGone(DataError):
    """Rows that passed from one stage to the next aren't there any more."""


class SinkError(TidemillError):
    """The sink doesn't take the rows."""


class TableMissing(SinkError):
    """There is no such table and createTable is Never."""


class TableMismatch(SinkError):
    """The table's columns don't fit the rows."""


class SinkRefused(SinkError):
    """Postgres refuses the rows or the statement, or a server whatever is sent to it."""


class OlderThanPublished(SinkError):
    """Replace, or SCD2, by a run older than what the table holds."""


class CheckFailed(SinkError):
    """A check with severity Error doesn't hold; what a run holds back until its end stays unseen."""


class Fenced(TidemillError):
    """A newer execution of the run key has taken over."""


class ReprocessRefused(TidemillError):
    """The run key was processed before and can't be processed again."""


class ReplayRefused(TidemillError):
    """Dead letters can't be replayed as asked."""


class WatermarkMoved(TidemillError):
    """Another run has loaded from the same incremental source meanwhile."""


class WatermarksApart(TidemillError):
    """The sinks of an incremental source have different files of it, and can't be brought level by themselves."""


class BackfillRefused(TidemillError):
    """A range of times can't be backfilled as asked."""


class BackfillIncomplete(TidemillError):
    """Some of a backfill's runs have failed; the others are done."""


class NotificationRefused(TidemillError):
    """A message about a run wasn't taken: it was refused, or tried too often. The run is what it is all the same."""


class ConfigError(TidemillError):
    """The worker's own configuration is wrong."""


class UnknownConnection(ConfigError):
    """The pool has no connection of that name, or not of the needed kind or access."""


class SecretMissing(ConfigError):
    """A Secret's key isn't mounted; it may still come."""

    retryable = True


class HTTPDenied(ConfigError):
    """A web server refuses the headers of its connection, or what is asked of it with them."""


class HostRefused(ConfigError):
    """A web server leads to a host, port, scheme or path that the pool's connection doesn't give."""


class StoreDenied(ConfigError):
    """An object store refuses the keys, or what is asked of it with them."""


class BucketMissing(ConfigError):
    """An object store has no bucket of that name."""


class EncryptionError(ConfigError):
    """What Temporal keeps can't be encrypted or read with the key ring as it is."""

    retryable = True


class KeyRingInvalid(EncryptionError):
    """The folder of the key ring isn't what it must be; a Secret may still be mounted or mended."""


class UnknownKey(EncryptionError):
    """It is encrypted with a key that isn't in the ring. Nothing is lost: it goes on when the key is back."""


class Undecipherable(EncryptionError):
    """The key of that name doesn't fit: it is another key, another Temporal namespace's, or bytes were changed."""


class Unavailable(TidemillError):
    """An outage of something that the run needs."""

    retryable = True


class PostgresUnavailable(Unavailable):
    """Postgres can't be reached, or ended the connection."""


class TemporalUnavailable(Unavailable):
    """Temporal can't be reached."""


class HTTPUnavailable(Unavailable):
    """A web server can't be reached, is overloaded, or breaks off its answer. `wait`: seconds that it asks for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class StoreUnavailable(Unavailable):
    """An object store can't be reached, fails, or breaks off its answers."""


class StoreThrottled(StoreUnavailable):
    """An object store asks for fewer requests."""


class ArtifactsUnavailable(Unavailable):
    """The place for what passes between stages can't be read or written."""


class PythonUnavailable(Unavailable):
    """A function of a step or source says that something it needs doesn't answer."""

    def __init__(self, who: str, message: str) -> None:
        """`who` is `step enriched`, or `source orders`."""
        super().__init__(f"{who}: {message}")
        self.step = who.rpartition(" ")[2]


class WorkerLost(Unavailable):
    """No worker answered in time: those that had the work died, or there is none."""


class RunTimeout(TidemillError):
    """The run took longer than `spec.execution.timeout`."""


class Overlap(TidemillError):
    """Another run of the pipeline has the slot, and `overlapPolicy` lets this one not begin."""


class Terminated(TidemillError):
    """The run's workflow was closed from outside before the run could end by itself."""


class Internal(TidemillError):
    """A fault of Tidemill or of a library it uses: not the manifest's, nor the data's. Tried three times at most."""

    retryable = True
