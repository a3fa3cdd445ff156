"""`python -m tests.cluster.build`: Kubernetes' own programs and etcd, from their sources, as go.mod and go.sum pin them; about seven minutes, once.

Nothing of it is kept in the repository: the programs are in the user's cache, under their version.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from poller.demo.broker import cache_dir
from tests.cluster import strimzi

HERE = Path(__file__).parent
BINARIES = "CLUSTER_BINARIES"
"""The environment variable that names a directory with programs built elsewhere."""

KUBERNETES = "k8s.io/kubernetes"
PROGRAMS = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": f"{KUBERNETES}/cmd/kube-apiserver",
    "kube-controller-manager": f"{KUBERNETES}/cmd/kube-controller-manager",
    "kube-scheduler": f"{KUBERNETES}/cmd/kube-scheduler",
    "kubectl": f"{KUBERNETES}/cmd/kubectl",
}
DEFINITIONS = {
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "github.com/kedacore/keda/v2": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
}


class Missing(Exception):
    """What the cluster is made of is not here, and cannot be had."""


class Tools(NamedTuple):
    """What a cluster is made of."""

    binaries: Path
    definitions: tuple[Path, ...]
    """Resource definitions that the manifests need."""


def pinned(module: str, go_mod: Path = HERE / "go.mod") -> str:
    """The version of a module that go.mod asks for."""
    found = re.search(rf"^(?:require )?\s*{re.escape(module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    assert found, f"{go_mod} does not name {module}"
    return found[1]


def build() -> Tools:
    """Everything, built where it is missing. Raises `Missing`."""
    named = os.environ.get(BINARIES)
    binaries = Path(named) if named else cache_dir() / f"kubernetes-{pinned(KUBERNETES)}"
    missing = [name for name in PROGRAMS if not (binaries / name).is_file()]
    if missing and named:
        raise Missing(f"{BINARIES} is {named}, and there is no {', '.join(missing)}")
    for name in missing:
        make(name, binaries)
    return Tools(binaries, (*definitions(), *strimzi.definitions()))


def make(name: str, binaries: Path) -> None:
    """One program, under its name only once it is whole."""
    binaries.mkdir(parents=True, exist_ok=True)
    print(f"building {name} {pinned(PROGRAMS[name] if name == 'etcd' else KUBERNETES)}…", flush=True)
    began = time.monotonic()
    partial = binaries / f"{name}.partial"
    version = f"-X k8s.io/component-base/version.gitVersion={pinned(KUBERNETES)}"
    go("build", "-trimpath", "-ldflags", f"-s -w {version}", "-o", str(partial), PROGRAMS[name], directory=HERE)
    partial.rename(binaries / name)
    print(f"built {name} in {time.monotonic() - began:.0f} s", flush=True)


def definitions() -> list[Path]:
    """Resource definitions out of the module cache, as crds/go.mod pins them; none of their programs is built."""
    found = []
    for module, paths in DEFINITIONS.items():
        folder = Path(json.loads(go("mod", "download", "-json", module, directory=HERE / "crds"))["Dir"])
        found += [folder / path for path in paths]
    return found


def go(*args: str, directory: Path) -> str:
    """What it prints. Slowly: it takes every core otherwise."""
    program = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if program is None:
        raise Missing(
            f"this needs Go {pinned_go()} or newer, to build Kubernetes from its sources; or name a directory with the programs in {BINARIES}"
        )
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    ran = subprocess.run(
        ["nice", "-n", "19", program, *args], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if ran.returncode != 0:
        raise Missing(f"go {' '.join(args)} ended with {ran.returncode}")
    return ran.stdout


def pinned_go() -> str:
    found = re.search(r"^go (\S+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    assert found
    return found[1]


if __name__ == "__main__":
    try:
        print(f"the programs are in {build().binaries}")
    except Missing as error:
        sys.exit(str(error))
