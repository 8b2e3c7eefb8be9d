"""Whether what was measured of a sink's table is as a check says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from tidemill_api.contract import CheckResult
from tidemill_api.errors import CheckFailed
from tidemill_api.names import content_hash
from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.check import Check

_NONE_IF_NOT_SAID = ("duplicateRows", "nullRows", "unacceptedRows", "failedRows")


def judged(check: Check, value: float | None, former: Sequence[float]) -> CheckResult:
    """The verdict. `former` are the values of the last runs; None is the freshness of a table without any moment."""
    faults = list(_faults(check, value, former))
    return CheckResult(
        check=check.name,
        sink=check.sink,
        metric=check.metric,
        severity=check.severity,
        passed=not faults,
        value=value,
        message="; ".join(faults),
    )


def refusal(results: Sequence[CheckResult]) -> CheckFailed | None:
    """Why a run must not succeed, if it must not."""
    failed = [result for result in results if not result.passed and result.severity == "Error"]
    if not failed:
        return None
    said = "; ".join(f"check {result.check}: {result.message}" for result in failed)
    return CheckFailed(f"sink {failed[0].sink}: {said}")


def meaning(check: Check) -> str:
    """Hash of what a check measures: only values of the same meaning can be compared."""
    return content_hash([check.sink, check.metric, list(check.columns), list(check.accepted_values), check.expression])


def _faults(check: Check, value: float | None, former: Sequence[float]) -> Iterator[str]:
    if value is None:
        yield f"{check.metric} can't be told: {check.columns[0]} holds no moment"
        return
    said = f"{check.metric} is {_plain(value)}"
    if check.within is not None:
        longest = parse_duration(check.within).total_seconds()
        if value > longest:
            yield f"{said} seconds, which is more than within allows ({check.within})"
        return
    if check.at_least is not None and value < check.at_least:
        yield f"{said}, which is less than atLeast ({_plain(check.at_least)})"
    at_most = check.at_most
    if at_most is None and check.metric in _NONE_IF_NOT_SAID and not check.bounded:
        at_most = 0
    if at_most is not None and value > at_most:
        yield f"{said}, which is more than atMost ({_plain(at_most)})"
    near = check.within_percent_of_last
    if near is not None and former:
        usual = median(former[: near.runs])
        if abs(value - usual) > abs(usual) * near.percent / 100:
            yield (
                f"{said}, which is more than {_plain(near.percent)}% from {_plain(usual)}, the median of the last "
                f"{len(former[: near.runs])} runs"
            )


def _plain(number: float) -> str:
    """Whole numbers without a point."""
    return f"{number:,.0f}".replace(",", "") if float(number).is_integer() else f"{number:.6g}"
