"""What stands between us and a component: it prepares the process and then becomes the component.

Run as a script by `component.start`, never imported by it, because the code between fork and exec of a
process with threads (ours has Temporal's) must not be Python.  Its arguments are one JSON object and the command.

It sees to it that
- the component gets a signal when the process that started it dies, however it dies (Linux only);
- a component that refuses to run as root (PostgreSQL) runs as an unprivileged user, who nevertheless can reach
  its files below directories of root's: with the capability to search and read them, and no other.
"""

import ctypes
import json
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
# The narrowest first: CAP_DAC_READ_SEARCH, which containers often lack, then CAP_DAC_OVERRIDE.
CAPABILITIES = (2, 1)


def prctl(*arguments: int) -> None:
    """Ask the kernel (prctl, section 2); raise OSError with its reason if it refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    padded = (*arguments, *([0] * (5 - len(arguments))))
    if libc.prctl(*(ctypes.c_ulong(value) for value in padded)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl")


def permitted() -> int:
    """The capabilities this process may use, as a bit mask."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib would double the start-up time
        for line in status:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def keep_only(capability: int) -> None:
    """Set permitted, effective, inheritable and ambient capabilities to exactly this one."""
    low = 1 << capability
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(low, low, low, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "capset")
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def become(uid: int, gid: int) -> None:
    """Give up root for good; on Linux keep the one capability to reach files below root's directories."""
    keep = None
    if sys.platform == "linux":
        available = permitted()
        keep = next((capability for capability in CAPABILITIES if available >> capability & 1), None)
        if keep is not None:
            prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep is not None:
        keep_only(keep)


def main() -> None:
    """Prepare, then become the command."""
    plan = json.loads(sys.argv[1])
    command = sys.argv[2:]
    if plan["user"] is not None:
        become(*plan["user"])
    if sys.platform == "linux":
        # After the change of user, which clears it.
        prctl(PR_SET_PDEATHSIG, plan["signal"])
        if os.getppid() != plan["parent"]:
            sys.exit(0)  # the parent died before we could ask to be told
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
