"""`python -m tests.cluster`: the manifests on a real Kubernetes control plane, in namespaces of their own; exit 1 where something is wrong.

Real: etcd, API server, controllers, scheduler, kubectl; the pollers and Kafka as processes; probes, names and Services over a network. The rest is
stood in for: see `network` (CNI, kube-proxy, DNS), `kubelet` and `container` (kubelet and container runtime), `images` (images).
"""

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from poller.demo.broker import fetch
from tests.cluster import checks
from tests.cluster.api import Api, Kubectl, Object
from tests.cluster.build import KUBERNETES, Missing, Tools, build, pinned
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.images import Images
from tests.cluster.kubelet import ZONES, Kubelets
from tests.cluster.network import Services, make_bridge
from tests.cluster.pod import Node
from tests.cluster.report import Report
from tests.cluster.trial import DEV, Trial
from tests.support.processes import one_error

NEEDED = ("unshare", "nsenter", "setpriv", "ip", "mount", "openssl")
INSIDE = "CLUSTER_INSIDE"
"""The environment variable by which a process knows that it is in there: the directory to work in."""

UNUSABLE = 3
SECONDS_MAX = 1800


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="leave every log there")
    given = parser.parse_args()
    try:
        require()
        tools = build()
    except Missing as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    jars = anyio.run(fetch, print)
    if INSIDE in os.environ:
        logging.disable(logging.CRITICAL)
        return anyio.run(judged, tools, jars, Path(os.environ[INSIDE]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with directory_of(given.keep) as directory:
        return inside(directory)


def require() -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise Missing(f"this needs {', '.join(missing)} (of Debian's util-linux, iproute2, mount and openssl)")
    if os.geteuid() != 0:
        raise Missing("this needs root, to give the cluster namespaces of its own, and each pod its user")


def inside(directory: Path) -> int:
    """Once more, in a network, a file system and a process tree that end with this process, and with them whatever was started. The exit code."""
    namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, sys.executable, "-m", "tests.cluster"]
    process = subprocess.Popen(command, env={**os.environ, INSIDE: str(directory)}, start_new_session=True)
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()


@contextmanager
def directory_of(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="poller-cluster-", ignore_cleanup_errors=True) as directory:
            Path(directory).chmod(0o755)
            yield Path(directory)
    else:
        keep.mkdir(parents=True)
        yield keep.resolve()


async def judged(tools: Tools, jars: Sequence[Path], directory: Path) -> int:
    """The exit code."""
    began = time.monotonic()
    report = Report()
    await make_bridge()
    async with one_error(), control_plane(tools, directory) as plane:
        started = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in plane.ready_seconds.items())
        print(f"Kubernetes {pinned(KUBERNETES)}: {started}", flush=True)
        with anyio.fail_after(SECONDS_MAX):
            await on_nodes(plane, Images(directory / "images", jars), directory, report)
    shown = f"{len(report.rows)} checks in {time.monotonic() - began:.0f} s"
    print(f"\n{shown}: {f'{report.wrong} WRONG' if report.wrong else 'all as it should be'}")
    return 1 if report.wrong else 0


async def on_nodes(plane: ControlPlane, images: Images, directory: Path, report: Report) -> None:
    ends: list[Object] = []
    async with Api(plane.authority.pair.certificate, plane.admin) as api, anyio.create_task_group() as tasks:
        services = Services(api, directory)
        nodes = {name: Node(name, api, images, services, directory / name, ends) for name in ZONES}
        for node in nodes.values():
            node.directory.mkdir()
        kubelets = Kubelets(api, nodes)
        await tasks.start(kubelets.run)
        tasks.start_soon(services.run)
        mount_hosts(services.hosts(DEV))
        trial = Trial(directory, api, Kubectl(plane.tools.binaries / "kubectl", plane.kubeconfig), kubelets, services, ends)
        await checks.run(trial, report, plane.tools.definitions)
        tasks.cancel_scope.cancel()


def mount_hosts(hosts: Path) -> None:
    """So that this process finds the Services of `dev` by their names too; nobody outside of this namespace sees it."""
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


if __name__ == "__main__":
    sys.exit(main())
