"""Calls of users' functions: each in a thread of its own, which can be told to end, and left if it doesn't listen.

A function runs in the worker's process, so that rows needn't be copied; what it is called from waits for it or for the
end of its chunk. An exception that is put into its thread ends any Python code at its next instruction, but not a
function of C that waits: such a thread is left behind, since a cancelled run must not wait for it.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tidemill import Context
from tidemill_api.errors import PythonFailed
from tidemill_check.parameters import INTERVAL_START, OF_THE_RUN, RUN_TIME
from tidemill_worker.engine.model import Stopped
from tidemill_worker.engine.python.entrypoints import function_of
from tidemill_worker.engine.python.faults import fault

if TYPE_CHECKING:
    from tidemill_worker.cache import Computed

_log = logging.getLogger(__name__)

_TIMES: Final = frozenset({"run_time", "interval_start", "interval_end"})
LEAVE_AFTER: Final = 2.0
"""Seconds that a call gets to end when it is told to."""


class Calls:
    """The calls of one piece of work: with its parameters, and ended together."""

    def __init__(self, values: Mapping[str, object], cache: Computed | None = None) -> None:
        """`values` are the parameters of the run, its own times among them; `cache` is the pool's, if it has one."""
        self._values = values
        self.cache = cache
        self._open: set[_Call] = set()
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def parameters(self) -> dict[str, Any]:
        """The pipeline's parameters, with this run's values."""
        return {name: value for name, value in self._values.items() if name not in OF_THE_RUN}

    @property
    def going_on(self) -> bool:
        """Whether nobody has called `stop`."""
        return not self._stopped

    def context(self, step: str, *, timeless: bool = False) -> Context:
        """What the function of a step may know; `timeless`: without the run's times, which it fails by asking for."""
        return (_Timeless if timeless else Context)(
            step=step,
            parameters=self.parameters,
            run_time=_moment(self._values[RUN_TIME]),
            interval_start=_moment(self._values[INTERVAL_START]),
            log=logging.getLogger(f"tidemill.python.{step}"),
        )

    def call(
        self, who: str, entrypoint: str, argument: object, then: Callable[[Any], Any] = lambda given: given
    ) -> Any:
        """What the function gives that `who` (`step enriched`) names; `then` makes something of it in its thread.

        Blocks; raises PythonFailed, PythonUnavailable, and Stopped after `stop`.
        """
        call = _Call(who, lambda: then(function_of(who, entrypoint)(argument)))
        with self._lock:
            if self._stopped:
                raise Stopped
            self._open.add(call)
        try:
            call.run()
        finally:
            with self._lock:
                self._open.discard(call)
        if call.error is not None:
            raise fault(who, entrypoint, call.error) from None
        return call.answer

    def stop(self) -> None:
        """End what is open; whatever is called from now on ends at once."""
        with self._lock:
            self._stopped = True
            for call in self._open:
                call.stop()


def _hears(thread: int) -> bool:
    """Whether an exception may be put into a thread.

    Under a tracer (coverage, a debugger) Python 3.11 lets no thread go on until the exception has come up: each looks
    again and again whether it is its own (`RESUME` in `DO_TRACING` of Python/ceval.c). So there only a thread that uses
    the processor gets one, which comes up soon: one that waits in a function of C may wait for ever.
    """
    if sys.version_info >= (3, 12) or sys.gettrace() is None:
        return True
    clock = time.pthread_getcpuclockid(thread)
    before = time.clock_gettime(clock)
    time.sleep(0.1)
    return time.clock_gettime(clock) - before > 0.001


def _moment(value: object) -> datetime:
    assert isinstance(value, datetime)
    return value.astimezone(UTC)


class _Timeless(Context):
    """Of a function whose answers are kept for other runs."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in _TIMES:
            raise PythonFailed(
                f"step {super().__getattribute__('step')}",
                f"its function asks for context.{name}, and with python.cache what it gives is found by runs of other "
                "times, too: take cache out, or give the function what it needs as a column or a parameter",
            )
        return super().__getattribute__(name)


class _Interrupted(BaseException):
    """Put into the thread of a call that must end. No `except Exception` of an author catches it."""


class _Call:
    """One call in its thread."""

    def __init__(self, who: str, work: Callable[[], Any]) -> None:
        self.answer: Any = None
        self.error: BaseException | None = None
        self._work = work
        self._who = who
        self._stopped = False
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._ending = threading.Lock()

    def run(self) -> None:
        """Wait for its end. Raises Stopped."""
        thread = threading.Thread(target=self._body, name=f"tidemill {self._who}", daemon=True)
        thread.start()
        self._woken.wait()
        if not self._stopped:
            return
        with self._ending:  # its number may be another thread's as soon as it has ended
            if thread.ident is not None and not self._ended.is_set() and _hears(thread.ident):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Interrupted))
        if not self._ended.wait(LEAVE_AFTER):
            _log.warning("%s: its function doesn't hear that it must end, and is left behind", self._who)
        raise Stopped

    def stop(self) -> None:
        self._stopped = True
        self._woken.set()

    def _body(self) -> None:
        try:
            try:
                self.answer = self._work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the thread that waits must hear of it
                self.error = error
            with self._ending:
                self._ended.set()
        except _Interrupted:
            pass  # it came when all was done
        finally:
            self._ended.set()
            self._woken.set()
