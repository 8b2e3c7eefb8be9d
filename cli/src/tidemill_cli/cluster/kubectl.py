"""The API server, asked through `kubectl`: its kubeconfig, contexts, proxies and login plugins are the person's own.

A process of kubectl costs some 50 ms, and spares this program a client, which would cost more than that to import.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Object = dict[str, Any]
"""An object of Kubernetes as JSON."""

GROUP: Final = "tidemill.dev"
KINDS: Final[Mapping[str, str]] = {
    "DataPipeline": f"datapipelines.{GROUP}",
    "WorkerPool": f"workerpools.{GROUP}",
    "DataPipelineRun": f"datapipelineruns.{GROUP}",
    "TemporalConnection": f"temporalconnections.{GROUP}",
}
"""Kind -> the name by which kubectl can't mistake it for another's."""

MANAGER: Final = "kubectl-tidemill"
"""Field manager of what a person writes with these commands."""

_STATUS: Final = re.compile(r'Error from server \((\w+)\): (?:error when \w+ing "[^"]*": )?(.*)')
_UNKNOWN_KIND: Final = re.compile(r"the server doesn't have a resource type|no matches for kind|could not find the req")

_CHANGED: Final = "the object has been modified"
_UNREACHABLE: Final = ("connection refused", "was refused", "no such host", "i/o timeout", "Unable to connect")


class ClusterError(Exception):
    """A request came to nothing; the message is one line and says what to do. `reason` is the API server's word."""

    def __init__(self, message: str, reason: str = "") -> None:
        """`reason` such as NotFound or Forbidden; empty if the server said nothing."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the flags that say which cluster, who and where."""

    flags: tuple[str, ...] = ()
    all_namespaces: bool = False
    _program: list[str] = field(default_factory=list, repr=False, compare=False)

    def get(self, kind: str, name: str) -> Object:
        """An object. Raises ClusterError, with reason NotFound if there is none."""
        return self.json("get", KINDS[kind], name)

    def find(self, kind: str, name: str) -> Object | None:
        """An object, or None if there is none (or its name can't be one)."""
        text = self.text(
            "get", KINDS[kind], "--ignore-not-found", "--output=json", f"--field-selector=metadata.name={name}"
        )
        items = json.loads(text).get("items", ()) if text.strip() else ()
        return items[0] if items else None

    def all_of(self, kind: str, *arguments: str) -> list[Object]:
        """All objects of a kind, in the namespace or in all."""
        found: list[Object] = self.json("get", KINDS.get(kind, kind), *self._everywhere(), *arguments)["items"]
        return found

    def list_readable(self, kinds: Sequence[str]) -> tuple[list[Object], list[str]]:
        """All objects of several kinds by one request each, and the kinds that this person may not list."""
        done = self._run(("get", ",".join(KINDS[kind] for kind in kinds), *self._everywhere(), "--output=json"))
        if done.returncode == 0:
            return json.loads(done.stdout)["items"], []
        error = _error_of(done.stderr)
        if error.reason != "Forbidden":
            raise error
        found: list[Object] = []
        denied: list[str] = []
        for kind in kinds:
            try:
                found += self.all_of(kind)
            except ClusterError as refusal:
                if refusal.reason != "Forbidden" or len(kinds) == 1:
                    raise
                denied.append(kind)
        if len(denied) == len(kinds):
            raise error
        return found, denied

    def create(self, manifest: Object) -> Object:
        """Create an object; what the server made of it."""
        arguments = ("create", "--filename=-", "--output=json", f"--field-manager={MANAGER}")
        created: Object = json.loads(self.text(*arguments, stdin=json.dumps(manifest)))
        return created

    def annotate(self, kind: str, name: str, annotation: str, value: str | None, version: str = "") -> None:
        """Set an annotation, or take it away (None); with `version` only of the object as it was then.

        Raises ClusterError, with the reason Conflict if it has changed since.
        """
        word = f"{annotation}-" if value is None else f"{annotation}={value}"
        only = (f"--resource-version={version}",) if version else ()
        self.text("annotate", KINDS[kind], name, word, "--overwrite", f"--field-manager={MANAGER}", *only)

    def json(self, *arguments: str) -> Object:
        """A command's output as JSON."""
        found: Object = json.loads(self.text(*arguments, "--output=json"))
        return found

    def text(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command prints. Raises ClusterError if it fails."""
        done = self._run(arguments, stdin)
        if done.returncode != 0:
            raise _error_of(done.stderr)
        return done.stdout

    def watch(self, kind: str, name: str, seen: Callable[[Object], bool], timeout: float) -> Object | None:
        """Follow an object until `seen` says True of it, and return it; None when `timeout` seconds are over.

        Raises ClusterError if it goes away or can't be read.
        """
        limit = time.monotonic() + timeout
        while (left := limit - time.monotonic()) > 0:  # the server ends every watch after a while
            if (found := self._watch_once(kind, name, seen, left)) is not None:
                return found
        return None

    def _watch_once(self, kind: str, name: str, seen: Callable[[Object], bool], timeout: float) -> Object | None:
        arguments = ("get", KINDS[kind], name, "--watch", "--output=json", "--output-watch-events")
        process = subprocess.Popen(self._command(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        over = threading.Event()

        def end() -> None:
            over.set()
            process.terminate()

        timer = threading.Timer(timeout, end)
        timer.start()
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            for event in _documents(process.stdout):
                if event["type"] == "DELETED":
                    raise ClusterError(f"{kind} {name} was deleted while it was waited for", "NotFound")
                if seen(event["object"]):
                    found: Object = event["object"]
                    return found
            words = process.stderr.read()
            if process.wait() != 0 and not over.is_set():
                raise _error_of(words)
            return None
        finally:
            timer.cancel()
            process.kill()
            process.communicate()

    def lines(self, *arguments: str) -> Iterator[str]:
        """The lines that a command prints, as they come. Raises ClusterError at the end if it failed."""
        process = subprocess.Popen(self._command(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        errors: list[str] = []
        assert process.stderr is not None
        listening = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        listening.start()
        try:
            yield from process.stdout or ()
            listening.join()
            if process.wait() != 0:
                raise _error_of("".join(errors))
        finally:
            process.kill()
            listening.join()
            process.wait()

    def _everywhere(self) -> tuple[str, ...]:
        return ("--all-namespaces",) if self.all_namespaces else ()

    def _run(self, arguments: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def _command(self, arguments: Sequence[str]) -> list[str]:
        if not self._program:
            asked = os.environ.get("KUBECTL", "kubectl")
            found = shutil.which(asked)
            if found is None:
                raise ClusterError(f"{asked} isn't there: put kubectl on the PATH, or set KUBECTL to it")
            self._program.append(found)
        return [self._program[0], *arguments, *self.flags]


def _documents(stream: Any) -> Iterator[Object]:
    """JSON documents one after the other, as `kubectl --watch` prints them, each as soon as it is whole."""
    decoder = json.JSONDecoder()
    text = ""
    for line in stream:
        text += line
        if not line.startswith("}") and not line.rstrip().endswith("}"):
            continue
        try:
            document, end = decoder.raw_decode(text)
        except ValueError:
            continue
        yield document
        text = text[end:].lstrip()


def _error_of(stderr: str) -> ClusterError:
    """Kubectl's last words as one line that says what to do."""
    lines = [
        line for line in stderr.splitlines() if line.strip() and not line.startswith(("E1", "I1", "W1", "Warning"))
    ]
    last = lines[-1].strip() if lines else "kubectl failed without a word"
    if _UNKNOWN_KIND.search(stderr):
        return ClusterError("this cluster doesn't have Tidemill's kinds: install Tidemill there, or choose --context")
    if found := _STATUS.search(stderr):
        reason, sentence = found[1], " ".join([found[2], *_following(stderr, found[0])]).rstrip(".:")
        match reason:
            case "NotFound":
                return ClusterError(f"{sentence}: `kubectl tidemill status` shows what there is, -n where", reason)
            case "Forbidden":
                return ClusterError(f"{sentence}: ask whoever grants rights in this namespace", reason)
            case _:
                return ClusterError(sentence, reason)
    if _CHANGED in last:
        return ClusterError(last.removeprefix("error: "), "Conflict")
    if any(words in last for words in _UNREACHABLE):
        return ClusterError(f"{last.removeprefix('error: ')} (--context chooses another cluster)", "Unreachable")
    if lines and lines[0].startswith("The "):  # the API server refuses an object, with a list of reasons
        return ClusterError(" ".join(line.strip() for line in lines), "Invalid")
    return ClusterError(last.removeprefix("error: "))


def _following(stderr: str, line: str) -> list[str]:
    """The indented lines below an error: the API server's list of causes."""
    rest = stderr.split(line, 1)[1].splitlines()[1:]
    return [each.strip() for each in rest if each.startswith((" ", "\t", "*"))]
