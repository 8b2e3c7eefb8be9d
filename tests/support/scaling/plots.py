"""The simulations as pictures and figures for the docs: `python -m tests.support.scaling.plots` writes them.

SVG by hand: the same bytes each time, and no library. `tests/unit/test_scaling_simulated.py` says when what is in the
docs isn't what the simulator says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

from tests.support.scaling.loads import HOUR, LOADS, MINUTE, bursts, long_tasks, scheduled_minute, waves
from tests.support.scaling.scalers import CPU, KEDA, BuiltIn, simulate
from tests.support.scaling.world import SLOTS, Moment, Outcome, Scaler

DOCS: Final = Path(__file__).parents[3] / "docs" / "concepts"
PAGE: Final = DOCS / "scaling.md"
BEGIN: Final = "<!-- figures: python -m tests.support.scaling.plots -->"
END: Final = "<!-- end of figures -->"
SCALERS: Final[Mapping[str, Callable[[], Scaler]]] = {"BuiltIn": BuiltIn, "KEDA": KEDA, "HPA on CPU": CPU}
COLD: Final = "BuiltIn, prewarm: 0s"
_DRAWN: Final = ((bursts, 40, 70), (waves, 0, 240), (long_tasks, 0, 240), (scheduled_minute, 58, 69))
"""Which loads, from which minute to which."""
_WIDTH, _PANEL, _GAP, _LEFT, _TOP, _POINTS = 760, 110, 40, 46, 34, 340
Point = tuple[float, float, float]
"""Time, workers that poll, workers whose slots the tasks would fill."""
_FONT: Final = 'font-family="system-ui, sans-serif" font-size="12"'
_TITLE: Final = ": workers that poll (area), workers that its tasks would fill (line), by minutes"
_COLOURS: Final = {"BuiltIn": "#0b7a75", "KEDA": "#b3541e", "HPA on CPU": "#6b5ca5"}


@cache
def outcome(load: str, scaler: str) -> Outcome:
    """One load under one scaler, by their names; the same is simulated once."""
    made = {made.name: made for made in (make() for make in LOADS)}
    return simulate(made[load], without_prewarm() if scaler == COLD else SCALERS[scaler]())


def without_prewarm() -> BuiltIn:
    """Ours, when workers aren't started before their time."""
    return BuiltIn(replace(BuiltIn().spec, prewarm=timedelta()), name=COLD)


def files() -> dict[Path, str]:
    """Each file with what has to be in it."""
    drawn = [(make().name, since * MINUTE, until * MINUTE) for make, since, until in _DRAWN]
    pictures = {DOCS / "scaling" / f"{load.replace(' ', '-')}.svg": _picture(load, *span) for load, *span in drawn}
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {**pictures, PAGE: f"{before}{BEGIN}\n{_table()}\n{END}{after}"}


def _table() -> str:
    head = (
        "| load | scaler | pod-seconds | waited: half, 95 %, longest (s) | at the scheduled minute: first, later (s) "
        "| told to go with a task | tasks done again |\n|---|---|--:|--:|--:|--:|--:|"
    )
    rows = (
        f"| {load if scaler == 'BuiltIn' else ''} | {scaler} | {seen.pod_seconds:,.0f} "
        f"| {seen.wait(0.5):.1f}, {seen.wait(0.95):.1f}, {seen.wait(1):.1f} | {_on_time(seen)} "
        f"| {seen.busy_removed} | {seen.interrupted} |"
        for load in (make().name for make in LOADS)
        for scaler in (*SCALERS, *((COLD,) if outcome(load, "BuiltIn").on_time else ()))
        for seen in (outcome(load, scaler),)
    )
    return "\n".join((head, *rows))


def _on_time(seen: Outcome) -> str:
    """The longest wait the first time, of which nothing was known, and of all times after."""
    if not seen.on_time:
        return ""
    first = min(at for at, _ in seen.on_time)
    before, after = ([wait for at, wait in seen.on_time if (at == first) == one] for one in (True, False))
    return f"{max(before):.1f}, {max(after):.1f}"


def _picture(load: str, since: float, until: float) -> str:
    seen = {scaler: _points(outcome(load, scaler).moments, since, until) for scaler in SCALERS}
    most = max(max(there, wanted) for points in seen.values() for _, there, wanted in points)
    height = _TOP + len(seen) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT} fill="#333">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="18" font-weight="600">{load}{_TITLE}</text>',
    ]
    for place, (scaler, points) in enumerate(seen.items()):
        told = f"{scaler}: {_told(outcome(load, scaler))}"
        parts += _panel(told, _COLOURS[scaler], points, _TOP + place * (_PANEL + _GAP), (since, until, most))
    return "\n".join((*parts, "</svg>", ""))


def _told(seen: Outcome) -> str:
    return f"{seen.pod_seconds:,.0f} pod-seconds in all, 95 % of tasks waited {seen.wait(0.95):.1f} s or less"


def _panel(told: str, colour: str, points: list[Point], top: int, span: tuple[float, float, float]) -> Iterable[str]:
    since, until, most = span
    wide, base = _WIDTH - _LEFT - 12, top + 18 + _PANEL

    def x(at: float) -> str:
        return f"{_LEFT + wide * (at - since) / (until - since):.1f}"

    def y(count: float) -> str:
        return f"{base - _PANEL * count / most:.1f}"

    yield f'<text x="{_LEFT}" y="{top + 12}" fill="{colour}" font-weight="600">{told}</text>'
    area = "L".join(f"{x(at)} {y(count)}" for at, count in _steps((at, there) for at, there, _ in points))
    yield f'<path d="M{x(since)} {y(0)}L{area}L{x(until)} {y(0)}Z" fill="{colour}" fill-opacity="0.45"/>'
    line = "L".join(f"{x(at)} {y(count)}" for at, count in _steps((at, wanted) for at, _, wanted in points))
    yield f'<path d="M{line}" fill="none" stroke="#111" stroke-width="0.8"/>'
    yield f'<path d="M{x(since)} {y(0)}H{_LEFT + wide}M{x(since)} {y(0)}V{y(most)}" stroke="#999" fill="none"/>'
    for count in (0, most):
        yield f'<text x="{_LEFT - 6}" y="{float(y(count)) + 4:.1f}" text-anchor="end">{count:.0f}</text>'
    step = 30 if until - since > 2 * HOUR else 5 if until - since > HOUR / 4 else 1
    for minute in range(int(since / MINUTE), int(until / MINUTE) + 1):
        if minute % step == 0:
            yield f'<text x="{x(minute * MINUTE)}" y="{base + 13}" text-anchor="middle" fill="#777">{minute}</text>'


def _points(moments: Iterable[Moment], since: float, until: float) -> list[Point]:
    """No more points than can be seen: of those that fall into one, the most that was there and was wanted."""
    wide = (until - since) / _POINTS
    found: dict[int, Point] = {}
    for moment in moments:
        if since <= moment.at <= until:
            place = int((moment.at - since) / wide)
            _, there, wanted = found.get(place, (0, 0, 0))
            demand = (moment.busy + moment.waiting) / SLOTS
            found[place] = (since + place * wide, max(there, float(moment.polling)), max(wanted, demand))
    return [found[place] for place in sorted(found)]


def _steps(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line that changes only where the value does, at right angles."""
    line: list[tuple[float, float]] = []
    for at, value in points:
        if len(line) > 1 and line[-1][1] == line[-2][1] == value:
            line[-1] = (at, value)
        elif line and line[-1][1] != value:
            line += [(at, line[-1][1]), (at, value)]
        else:
            line.append((at, value))
    return line


def main() -> None:
    """Write what differs."""
    for file, text in files().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(file.relative_to(DOCS.parents[1]))


if __name__ == "__main__":
    main()
