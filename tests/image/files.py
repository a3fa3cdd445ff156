"""What is wrong with an image's files and configuration: each function names every fault, and nothing where there is none."""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "fish", "busybox", "toybox", "env", "su", "sudo"}
INSTALLERS = {"pip", "setuptools", "wheel", "ensurepip", "apt-get"}
BILL = Path("usr/share/sbom/voucherify-activity-poller.cdx.json")
USER = "65532:65532"


def faults_of_files(root: Path) -> list[str]:
    return sorted(f"{path.relative_to(root)}: {fault}" for path in root.rglob("*") for fault in _faults_of(path))


def _faults_of(path: Path) -> Iterator[str]:
    status = path.lstat()
    if path.name in SHELLS and not path.is_dir():
        yield "a shell, or a way to one"
    if path.name in INSTALLERS:
        yield "installs packages"
    if stat.S_ISLNK(status.st_mode):
        return
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        yield "setuid or setgid"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield "others than its owner may write it"
    if (status.st_uid, status.st_gid) != (0, 0):
        yield f"owned by {status.st_uid}:{status.st_gid}, not by root"
    if path.suffix == ".py" and not any(path.parent.glob(f"__pycache__/{path.stem}.*.pyc")):
        yield "not compiled"


def faults_of_links(root: Path) -> list[str]:
    """Links that lead nowhere within the image, but for the top ones, which stand for directories."""
    links = [path for path in root.rglob("*") if path.is_symlink()]
    # One that leads to another is right as far as it goes: that one is among them.
    return [str(link.relative_to(root)) for link in links if link.parent != root and not os.path.lexists(_target(root, link))]


def _target(root: Path, link: Path) -> Path:
    to = link.readlink()
    return root / to.relative_to("/") if to.is_absolute() else link.parent / to


def faults_of_bill(root: Path) -> list[str]:
    """Between what the bill of materials lists and what is installed, both ways."""
    components = json.loads((root / BILL).read_text())
    listed = {(one["name"], one["version"]) for one in (*components["components"], components["metadata"]["component"])}
    present = installed(root)
    return sorted([f"not listed: {name} {version}" for name, version in present - listed]) + sorted(
        [f"listed, and not installed: {name} {version}" for name, version in listed - present if name != "python"]
    )


def installed(root: Path) -> set[tuple[str, str]]:
    (packages,) = root.glob("opt/poller/lib/python3.*/site-packages")
    python = {(re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(), one.version) for one in distributions(path=[str(packages)])}
    return python | {_paragraph(path) for path in (root / "var/lib/dpkg/status.d").iterdir()}


def _paragraph(path: Path) -> tuple[str, str]:
    fields = dict(line.split(": ", 1) for line in path.read_text().splitlines() if re.match(r"(Package|Version): ", line))
    return fields["Package"], fields["Version"]


def faults_of_pins(root: Path, requirements: str) -> list[str]:
    """Whether each Python package is one that is pinned, from a file whose hash is pinned, and none is missing."""
    pins = dict(re.findall(r"^([a-z0-9._-]+)==(\S+?)(?= |$)", requirements, re.MULTILINE))
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", requirements))
    components = [one for one in json.loads((root / BILL).read_text())["components"] if one["purl"].startswith("pkg:pypi/")]
    wrong = [one["name"] for one in components if pins.get(one["name"]) != one["version"] or not _hashes(one) <= hashes or not _hashes(one)]
    return [
        *(f"not as pinned: {name}" for name in wrong),
        *(f"missing: {name}" for name in pins.keys() - {one["name"] for one in components}),
    ]


def _hashes(component: Mapping[str, Any]) -> set[str]:
    return {one["content"] for one in component.get("hashes", ())}


def faults_of_config(config: Mapping[str, Any], version: str) -> list[str]:
    wanted: Mapping[str, object] = {
        "User": USER,
        "Entrypoint": ["/opt/poller/bin/poller"],
        "Cmd": ["run"],
        "StopSignal": "SIGTERM",
        "Healthcheck": None,
    }
    environment = {"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "POLLER_ADMIN_HOST=0.0.0.0", "POLLER_WEBHOOK_HOST=0.0.0.0"}
    labels = {f"org.opencontainers.image.{name}" for name in ("title", "description", "version", "revision", "licenses", "base.name")}
    return [
        *(f"{name} is {config.get(name)!r}, should be {value!r}" for name, value in wanted.items() if config.get(name) != value),
        *(f"not in the environment: {one}" for one in sorted(environment - set(config["Env"]))),
        *(f"no label {one}" for one in sorted(labels - config["Labels"].keys())),
        *(
            []
            if config["Labels"].get("org.opencontainers.image.version") == version
            else ["the version's label is not the package's version"]
        ),
    ]


def faults_of_secrets(root: Path, secrets: Iterable[str]) -> list[str]:
    """Files that hold what the build was told in confidence."""
    sought = [secret.encode() for secret in secrets]
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path.relative_to(root)) for path in files if any(secret in path.read_bytes() for secret in sought)]


def unpacked_bytes(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
