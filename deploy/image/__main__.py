"""`python3 -m deploy.image APPLICATION ROOT REPORT...`: make ROOT hold what the virtual environment APPLICATION needs, and nothing else.

REPORT is what `pip install --report` wrote. Runs on a Debian, as root.
"""

import json
import os
import platform
import ssl
import sys
import sysconfig
from pathlib import Path

from deploy.image.root import Root
from deploy.image.sbom import Component, archives_of, bill, component, debian_packages, of_debian

NAME = "voucherify-activity-poller"
BILL = Path("/usr/share/sbom", f"{NAME}.cdx.json")
USER = 65532

WITHOUT = (
    # Installing and building packages.
    *("ensurepip", "venv", "distutils", "lib2to3", "config-3*", "site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py"),
    # For people at a desk.
    *("idlelib", "tkinter", "turtledemo", "turtle.py", "pydoc_data", "curses", "readline.*.so", "_curses*.so", "_tkinter*.so"),
    # Databases.
    *("sqlite3", "_sqlite3*.so", "dbm", "_dbm*.so", "_gdbm*.so"),
    # Systems that nobody logs in to, and sound.
    *("nis*.so", "spwd*.so", "crypt.py", "_crypt*.so", "ossaudiodev*.so"),
    # Python's tests of itself.
    *("test", "_test*.so", "_ctypes_test*.so", "_xxtestfuzz*.so", "xxlimited*.so"),
)
"""Of the standard library, what the program never imports."""

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

FILES = {
    "/etc/passwd": f"root:x:0:0:root:/:/nonexistent\npoller:x:{USER}:{USER}:poller:/:/nonexistent\n",
    "/etc/group": f"root:x:0:\npoller:x:{USER}:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def main(application: Path, directory: Path, *reports: Path) -> None:
    root = Root(directory)
    copy_python(root, application)
    copy_system(root)
    for path, text in FILES.items():
        root.write(Path(path), text)
    describe(root, application, archives_of(*reports))
    root.compile(standard_library(), application)
    root.settle(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))


def standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib")).resolve()


def copy_python(root: Root, application: Path) -> None:
    root.copy(Path(sys.executable).resolve())
    library = standard_library()
    root.copy(library, [library / name for name in WITHOUT] + [library / "lib-dynload" / name for name in WITHOUT])
    commands = [path for path in (application / "bin").iterdir() if not path.name.startswith(("python", "poller"))]
    root.copy(application, commands)
    root.copy_libraries()


def copy_system(root: Root) -> None:
    """Certificate authorities, where httpx, OpenSSL and people look for them; and which Debian it is, for scanners."""
    root.copy(Path("/etc/os-release"))
    root.copy(BUNDLE)
    defaults = Path(ssl.get_default_verify_paths().openssl_cafile)
    if defaults != BUNDLE:
        root.within(defaults).parent.mkdir(parents=True, exist_ok=True)
        root.within(defaults).symlink_to(BUNDLE)
    if (configuration := defaults.parent / "openssl.cnf").exists():
        root.copy(configuration)


def describe(root: Root, application: Path, archives: dict[str, str]) -> None:
    """The bill of materials; and of each Debian package its copyright, and its status where scanners look for it."""
    packages = debian_packages([*root.copied, BUNDLE, Path("/usr/share/doc/ca-certificates/copyright")])
    for package, status in packages.items():
        root.write(Path("/var/lib/dpkg/status.d", package), status)
        root.copy(Path("/usr/share/doc", package, "copyright"))
    distribution = f"debian-{platform.freedesktop_os_release()['VERSION_ID']}"
    others: list[Component] = [of_debian(status, distribution) for status in packages.values()]
    if not any(package.startswith("python3") for package in packages):  # built by itself, as in Docker's images
        version = platform.python_version()
        others.append(component("python", version, f"pkg:generic/python@{version}"))
    site_packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(application)}))
    root.write(BILL, json.dumps(bill(NAME, site_packages, archives, others), indent=1) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
