"""An API of weather observations to try the example on: real ones, of New York City's airports in 2013.

    python3 examples/weather/api.py tidemill dev examples/weather --once

serves them at http://127.0.0.1:8313/v1/ while the command runs, and says at its end what was asked for; without a
command it serves until Ctrl-C. It answers

- `observations?page=N&per_page=1000`: one page, with the number of all pages;
- `stations`: the three airports;

each with an ETag, and with 304 and no body if the client has that answer already. `make examples-data` fetches the
data.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PORT = 8313
HERE = Path(__file__).resolve().parent
OBSERVATIONS = HERE / "data" / "weather.csv"
AIRPORTS = HERE.parent / "flights" / "data" / "airports.csv"
STATIONS = {"EWR", "JFK", "LGA"}
NUMBERS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def observations() -> list[dict[str, object]]:
    """All of them, in the file's order; what the file calls NA is null."""
    with OBSERVATIONS.open(encoding="utf-8", newline="") as file:
        return [
            {
                "origin": row["origin"],
                "time_hour": row["time_hour"],
                **{name: None if row[name] == "NA" else json.loads(row[name]) for name in NUMBERS},
            }
            for row in csv.DictReader(file)
        ]


def stations() -> list[dict[str, object]]:
    """Where they were made."""
    with AIRPORTS.open(encoding="utf-8", newline="") as file:
        return [{"faa": row["faa"], "name": row["name"]} for row in csv.DictReader(file) if row["faa"] in STATIONS]


class Server(ThreadingHTTPServer):
    """Answers, and counts by path and status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", PORT), Handler)
        self.observations = observations()
        self.stations = stations()
        self.counts: Counter[tuple[str, int]] = Counter()

    def answer(self, path: str, query: dict[str, list[str]]) -> object:
        """What a path has; None if there is no such path."""
        if path == "/v1/stations":
            return {"stations": self.stations}
        if path != "/v1/observations":
            return None
        page, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["100"])[0])
        rows = self.observations[(page - 1) * size : page * size]
        return {"page": page, "pages": -(-len(self.observations) // size), "observations": rows}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, and count it."""
        assert isinstance(self.server, Server)
        parts = urlsplit(self.path)
        found = self.server.answer(parts.path, parse_qs(parts.query))
        body = json.dumps({"error": "not found"} if found is None else found).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        status = 404 if found is None else 304 if self.headers.get("If-None-Match") == etag else 200
        self.server.counts[parts.path, status] += 1
        self.send_response(status)
        if status != 404:
            self.send_header("ETag", etag)
        if status != 304:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the counts are told at the end."""


def main(command: list[str]) -> int:
    """Serve while the command runs, or until Ctrl-C; returns the exit code."""
    try:
        server = Server()
    except OSError as error:
        print(f"api.py: {error.filename or f'127.0.0.1:{PORT}'}: {error.strerror}", file=sys.stderr)
        return 1
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = run(command) if command else wait()
        server.shutdown()
    for path in ("/v1/observations", "/v1/stations"):
        print(f"{path}: {server.counts[path, 200]} sent, {server.counts[path, 304]} not changed")
    return code


def run(command: list[str]) -> int:
    """Run it to its end; a signal to stop is the command's to follow."""
    with subprocess.Popen(command) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # the command has had it too
                return child.wait()


def wait() -> int:
    """Until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
