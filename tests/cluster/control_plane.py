"""etcd, the API server, the scheduler and the controller manager of one cluster, on loopback."""

import json
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from tests.cluster.api import Api
from tests.cluster.build import Tools
from tests.cluster.certificates import Authority, Pair
from tests.support.waiting import until

ETCD, SERVER = "https://127.0.0.1:2379", "https://127.0.0.1:6443"
SERVICES = "10.96.0.0/16"
ADVERTISED = "10.244.0.1"
READY_SECONDS_MAX = 90
STOP_SECONDS_MAX = 15
ISSUER = "https://kubernetes.default.svc"


class ControlPlane:
    """The running programs, and how to speak to them."""

    def __init__(self, tools: Tools, directory: Path) -> None:
        self.tools = tools
        self.directory = directory
        self.authority = Authority(directory / "certificates")
        self.admin = self.authority.issue("admin", group="system:masters")
        self.kubeconfig = self.kubeconfig_of("admin", self.admin)
        self._programs: list[subprocess.Popen[bytes]] = []
        self.ready_seconds: dict[str, float] = {}

    async def start(self) -> None:
        server = self.authority.issue("server", addresses=("DNS:localhost", "DNS:kubernetes.default.svc", "IP:127.0.0.1"))
        accounts = self.authority.key("service-accounts")
        await self._started("etcd", self._etcd(server), f"{ETCD}/health")
        await self._started("kube-apiserver", self._api_server(server, accounts), f"{SERVER}/readyz")
        await self._started("kube-controller-manager", self._controllers(server, accounts), "https://127.0.0.1:10257/healthz")
        await self._started("kube-scheduler", self._scheduler(server), "https://127.0.0.1:10259/healthz")

    def kubeconfig_of(self, name: str, pair: Pair) -> Path:
        path = self.directory / f"{name}.kubeconfig".replace(":", "-")
        cluster = {"server": SERVER, "certificate-authority": str(self.authority.pair.certificate)}
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "one", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": name}}],
            "current-context": "one",
        }
        path.write_text(json.dumps(config))
        return path

    def _etcd(self, server: Pair) -> list[str]:
        return [
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            f"--cert-file={server.certificate}",
            f"--key-file={server.key}",
            f"--trusted-ca-file={self.authority.pair.certificate}",
            "--client-cert-auth",
            "--unsafe-no-fsync",
        ]

    def _api_server(self, server: Pair, accounts: Path) -> list[str]:
        return [
            f"--etcd-servers={ETCD}",
            f"--etcd-cafile={self.authority.pair.certificate}",
            f"--etcd-certfile={self.admin.certificate}",
            f"--etcd-keyfile={self.admin.key}",
            "--bind-address=127.0.0.1",
            f"--advertise-address={ADVERTISED}",
            "--endpoint-reconciler-type=none",
            *served_with(server),
            f"--client-ca-file={self.authority.pair.certificate}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",  # so that what refuses a privileged pod is Pod Security
        ]

    def _controllers(self, server: Pair, accounts: Path) -> list[str]:
        kubeconfig = self._for("system:kube-controller-manager")
        return [
            *kubeconfig,
            *served_with(server),
            f"--service-account-private-key-file={accounts}",
            f"--root-ca-file={self.authority.pair.certificate}",
            "--use-service-account-credentials",
        ]

    def _scheduler(self, server: Pair) -> list[str]:
        return [*self._for("system:kube-scheduler"), *served_with(server)]

    def _for(self, user: str) -> list[str]:
        path = self.kubeconfig_of(user, self.authority.issue(user))
        names = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        return [*(f"--{name}={path}" for name in names), "--leader-elect=false", "--bind-address=127.0.0.1"]

    async def _started(self, name: str, args: Sequence[str], url: str) -> None:
        log_path = self.directory / "logs" / f"{name}.log"
        log_path.parent.mkdir(exist_ok=True)
        began = time.monotonic()
        program = spawn([str(self.tools.binaries / name), *args], log_path)
        self._programs.append(program)
        async with Api(self.authority.pair.certificate, self.admin) as api:

            async def ready() -> bool:
                assert program.poll() is None, f"{name} ended:\n{log_path.read_text(errors='replace')[-3000:]}"
                return await api.answers(url)

            await until(ready, within_seconds=READY_SECONDS_MAX)
        self.ready_seconds[name] = time.monotonic() - began

    async def stop(self) -> None:
        """In the reverse order; what does not end in time is killed."""
        with anyio.CancelScope(shield=True):
            for program in reversed(self._programs):
                program.terminate()
                try:
                    await anyio.to_thread.run_sync(program.wait, STOP_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    program.kill()
                    program.wait()


def spawn(command: Sequence[str], log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def served_with(server: Pair) -> list[str]:
    return [f"--tls-cert-file={server.certificate}", f"--tls-private-key-file={server.key}"]


@asynccontextmanager
async def control_plane(tools: Tools, directory: Path) -> AsyncIterator[ControlPlane]:
    """One that serves, ended with the block."""
    plane = ControlPlane(tools, directory)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()
