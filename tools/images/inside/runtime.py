"""The lowest layer of all images: Python, the C library, and nothing to run them by but themselves.

python3 -m tools.images.inside.runtime FOLDER
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

from tools.images.inside.bytecode import compile_tree
from tools.images.inside.layer import Layer

USER = 65532
# Tests, editors, installers, the other world's Tk; and what describes the machine that Python was built on.
_LEAVE_OUT = (
    *("test", "idlelib", "tkinter", "turtle.py", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "distutils"),
    *("site-packages", "dist-packages", "config-*", "venv", "EXTERNALLY-MANAGED", "**/__pycache__", "unittest/test"),
    *("lib-dynload/_test*", "lib-dynload/_xx*", "lib-dynload/_tkinter*", "sqlite3/test", "ctypes/test"),
    # Databases and directories of old Unixes, for whose sake Berkeley DB and Kerberos would come along.
    *("lib-dynload/_dbm*", "lib-dynload/_gdbm*", "lib-dynload/nis*"),
)


def main() -> int:
    """Fill the folder."""
    layer = Layer(Path(sys.argv[1]))
    layer.root.mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        if (link := Path("/", name)).is_symlink():
            (layer.root / name).symlink_to(link.readlink())
    interpreter = Path(sys.executable).resolve()
    layer.add(interpreter)
    stdlib = Path(sysconfig.get_path("stdlib"))
    layer.add_tree(stdlib, _LEAVE_OUT)
    for linked in (path for path in stdlib.rglob("*.py") if path.is_symlink()):
        # Debian keeps some of its own settings of Python in /etc.
        layer.add(linked.resolve())
    layer.add_libraries()
    layer.add_loaded_by_name()
    layer.add_package_records()
    compile_tree(layer.root / stdlib.relative_to("/"), layer.root)
    command = layer.root / "usr/local/bin/python"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.symlink_to(interpreter)
    _write_system_files(layer)
    layer.finish(int(os.environ["SOURCE_DATE_EPOCH"]))
    return 0


def _write_system_files(layer: Layer) -> None:
    layer.write(
        "/etc/passwd",
        f"root:x:0:0:root:/:/nonexistent\ntidemill:x:{USER}:{USER}:tidemill:/tmp:/nonexistent\n",
    )
    layer.write("/usr/share/python/version", f"{platform.python_version()}\n")
    layer.write("/etc/group", f"root:x:0:\ntidemill:x:{USER}:\n")
    layer.write("/etc/nsswitch.conf", "hosts: files dns\n")
    # The one locale that all programs are started with.
    if (locale := Path("/usr/lib/locale/C.utf8")).exists():
        layer.add_tree(locale)
    for scanned in ("/etc/os-release", "/etc/debian_version"):
        if Path(scanned).exists():
            layer.add(Path(scanned))
    (layer.root / "tmp").mkdir(exist_ok=True)
    (layer.root / "tmp").chmod(0o1777)
    # Python of other images lies where the loader looks only because this file says so.
    if Path("/etc/ld.so.conf").exists():
        layer.add(Path("/etc/ld.so.conf"))
        layer.add_tree(Path("/etc/ld.so.conf.d"))
        subprocess.run(["/sbin/ldconfig", "-X", "-r", str(layer.root)], check=True)
        (layer.root / "var/cache/ldconfig/aux-cache").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
