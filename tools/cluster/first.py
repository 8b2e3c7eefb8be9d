"""The node's first process: it makes the namespaces, prepares them, starts the programs and starts again what ends.

    python -m tools.cluster.first STATE PROGRAMS LINK_NUMBER

Its first half runs outside: it leaves a record of the process that it starts inside, and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tools.cluster.layout import INSIDE_PROGRAMS, INSIDE_STATE, NODE_ADDRESS, Layout, Link
from tools.cluster.liveness import started
from tools.cluster.programs import NodeProgram, node_programs

_CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
_ADDRESS_WAIT, _PORT_WAIT = 30.0, 120.0
# The kubelet sets these, which are the whole machine's.  It leaves them alone when it reads what it wants.
_TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main() -> int:
    """Entry point; returns the exit code of the outer half."""
    state, programs, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    layout, link = Layout(state), Link(number)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare: namespaces can't be made")
    # The record must be there before anything runs that it is needed to stop.
    written, told = os.pipe()
    inside = os.fork()
    if inside == 0:
        os.close(told)
        os.read(written, 1)
        _run(layout, programs, link)
    record = {"pid": inside, "started": started(inside), "link": number}
    layout.record.write_text(json.dumps(record), encoding="utf-8")
    os.close(told)
    return 0


def _run(layout: Layout, programs: Path, link: Link) -> None:
    """All that the first process does inside; it never returns."""
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        _mount(layout, programs)
        _network(link)
        _supervise(node_programs(link.cgroup))
    except BaseException as error:  # noqa: BLE001 - it is the last there is; whoever waits outside reads the log
        print(f"node: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _mount(layout: Layout, programs: Path) -> None:
    """The node's own /proc, /run and /var over the machine's; its state and programs at their places."""
    _do("mount", "--make-rprivate", "/")
    _do("mount", "-t", "proc", "proc", "/proc")
    # Where they are may be about to be hidden.
    handles = [os.open(folder, os.O_PATH) for folder in (layout.state, programs, layout.variable)]
    _do("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for handle, place in zip(handles, (INSIDE_STATE, INSIDE_PROGRAMS, Path("/var")), strict=True):
        place.mkdir(parents=True, exist_ok=True)
        _do("mount", "--no-canonicalize", "--bind", f"/proc/self/fd/{handle}", str(place), pass_fds=(handle,))
    for folder in ("lib/kubelet", "lib/containerd", "lib/etcd", "lib/cni", "log", "tmp"):
        Path("/var", folder).mkdir(parents=True, exist_ok=True)
    Path("/var/run").symlink_to("/run")
    for name, value in _TUNABLES.items():
        wished = Path("/run/node", name.replace("/", "-"))
        wished.write_text(f"{value}\n", encoding="ascii")
        _do("mount", "--bind", str(wished), f"/proc/sys/{name}")


def _network(link: Link) -> None:
    """Addresses, once the machine has given us our end of the link."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    _do("ip", "link", "set", "lo", "up")
    _do("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo")
    limit = time.monotonic() + _ADDRESS_WAIT
    while subprocess.run(["ip", "link", "show", "eth0"], capture_output=True, check=False).returncode != 0:
        if time.monotonic() > limit:
            raise TimeoutError(f"the machine gave us no network within {_ADDRESS_WAIT:g} s")
        time.sleep(0.05)
    _do("ip", "address", "add", str(link.node), "dev", "eth0")
    _do("ip", "link", "set", "eth0", "up")
    _do("ip", "route", "add", "default", "via", str(link.machine.ip))


def _supervise(programs: tuple[NodeProgram, ...]) -> None:
    """Start all, one after the other, and each again a second after its end, for ever."""
    ended = {program.name: -1 for program in programs}
    running: dict[int, NodeProgram] = {}
    for program in programs:
        for place in program.after:
            _await_port(place)
        _launch(program, running, ended)
    while True:
        # Orphans of containers end here too.
        pid, code = os.wait()
        if (program_or_none := running.pop(pid, None)) is not None:
            print(f"node: {program_or_none.name} ended with {code}; starting it again", file=sys.stderr, flush=True)
            time.sleep(1)
            _launch(program_or_none, running, ended)


def _launch(program: NodeProgram, running: dict[int, NodeProgram], ended: dict[str, int]) -> None:
    with program.log.open("ab") as log:
        # subprocess would wait for its children itself; we wait for all.
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            with contextlib.suppress(OSError):
                os.execvp(program.command[0], program.command)  # noqa: S606 - our own table's, and no shell is the point
            os._exit(127)
    running[child] = program
    ended[program.name] += 1
    states = {each.name: {"pid": pid, "restarts": ended[each.name]} for pid, each in running.items()}
    Layout(INSIDE_STATE).programs_record.write_text(json.dumps(states), encoding="utf-8")


def _await_port(place: tuple[str, int]) -> None:
    limit = time.monotonic() + _PORT_WAIT
    while True:
        with contextlib.suppress(OSError), socket.create_connection(place, timeout=1):
            return
        if time.monotonic() > limit:
            raise TimeoutError(f"nothing answers at port {place[1]} within {_PORT_WAIT:g} s; see the other logs")
        time.sleep(0.05)


def _do(*command: str, pass_fds: tuple[int, ...] = ()) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=pass_fds)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
