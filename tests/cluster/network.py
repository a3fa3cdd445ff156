"""The pods' network, in the network namespace that the whole cluster has for itself: a bridge, an interface for each pod, names and Services.

Where Kubernetes has a CNI plug-in, kube-proxy and a DNS server, there are veth pairs, a proxy in this process, and a hosts file that all pods see.
NetworkPolicies are kept by nobody.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.abc

from tests.cluster.api import Api, Object
from tests.support.waiting import until

GATEWAY = "10.244.0.1"
PREFIX = 16
REFRESH_SECONDS = 0.3
CHUNK_BYTES = 65536


async def ip(*args: str) -> None:
    await anyio.run_process(["ip", *args], check=True)


async def make_bridge() -> None:
    await ip("link", "set", "lo", "up")
    await ip("link", "add", "pods", "type", "bridge")
    await ip("addr", "add", f"{GATEWAY}/{PREFIX}", "dev", "pods")
    await ip("link", "set", "pods", "up")


class Sandbox:
    """A network namespace with one address, kept by a process that does nothing."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self.inside = ["nsenter", "-t", str(self._keeper.pid), "-n"]
        """What a command begins with that runs in there."""

    async def connect(self) -> None:
        await until(lambda: network_of(self._keeper.pid) != network_of(os.getpid()), within_seconds=10)
        name = f"p{self.address.split('.', 2)[2]}"
        await ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self._keeper.pid))
        await ip("link", "set", name, "master", "pods", "up")
        for command in (
            f"addr add {self.address}/{PREFIX} dev eth0",
            "link set eth0 up",
            "link set lo up",
            f"route add default via {GATEWAY}",
        ):
            await anyio.run_process([*self.inside, "ip", *command.split()], check=True)

    def close(self) -> None:
        """The interfaces go with the namespace."""
        self._keeper.kill()
        self._keeper.wait()


def network_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


class Port(NamedTuple):
    """Where a Service is reached."""

    address: str
    port: int


class Services:
    """Every Service of the cluster: its names, and whom its ports lead to."""

    def __init__(self, api: Api, directory: Path) -> None:
        self._api = api
        self._directory = directory
        self._services: list[Object] = []
        self._slices: list[Object] = []
        self._targets: dict[Port, list[Port]] = {}

    def ready(self, namespace: str) -> dict[str, list[str]]:
        """The Services of a namespace that select pods, and the addresses of their ready endpoints."""
        ours = [one for one in self._services if one["metadata"]["namespace"] == namespace and one["spec"]["type"] != "ExternalName"]
        return {service["metadata"]["name"]: list(found_for(service, self._slices)) for service in ours}

    def hosts(self, namespace: str) -> Path:
        """The hosts file that the pods of this namespace see; kept up to date."""
        path = self._directory / f"hosts-{namespace}"
        if not path.exists():
            path.write_text("")
            self._write_hosts(path, namespace)
        return path

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as proxies:
            while True:
                self._services = await self._api.items("/api/v1/services")
                self._slices = await self._api.items("/apis/discovery.k8s.io/v1/endpointslices")
                targets: dict[Port, list[Port]] = {}
                for service in self._services:
                    targets |= targets_of(service, self._slices)
                for port in targets.keys() - self._targets.keys():
                    await proxies.start(self._proxy, port)
                self._targets |= targets
                for path in self._directory.glob("hosts-*"):
                    self._write_hosts(path, path.name.removeprefix("hosts-"))
                await anyio.sleep(REFRESH_SECONDS)

    def _write_hosts(self, path: Path, namespace: str) -> None:
        lines = [line for service in self._services for line in self._lines(service, namespace)]
        text = "".join(["127.0.0.1 localhost\n", *lines])
        if text != path.read_text():
            path.write_text(text)  # in place: the pods have this very file

    def _lines(self, service: Object, namespace: str) -> list[str]:
        name, home = service["metadata"]["name"], service["metadata"]["namespace"]
        names = [f"{name}.{home}", f"{name}.{home}.svc", f"{name}.{home}.svc.cluster.local", *([name] if home == namespace else [])]
        return [f"{address} {' '.join(names)}\n" for address in self._resolved(service)]

    def _resolved(self, service: Object) -> list[str]:
        if service["spec"]["type"] == "ExternalName":
            name, home = service["spec"]["externalName"].split(".")[:2]
            others = [one for one in self._services if (one["metadata"]["name"], one["metadata"]["namespace"]) == (name, home)]
            return [address for one in others for address in self._resolved(one)]
        address = service["spec"].get("clusterIP", "None")
        return [address] if address != "None" else list(found_for(service, self._slices))[:1]

    async def _proxy(self, port: Port, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        await ip("addr", "replace", f"{port.address}/32", "dev", "lo")
        listener = await anyio.create_tcp_listener(local_host=port.address, local_port=port.port)

        async def forward(client: anyio.abc.SocketStream) -> None:
            targets = self._targets.get(port, [])
            async with client:
                if not targets:
                    return
                chosen = random.choice(targets)
                try:
                    async with await anyio.connect_tcp(chosen.address, chosen.port) as server, anyio.create_task_group() as both:
                        both.start_soon(copy, client, server)
                        both.start_soon(copy, server, client)
                except (OSError, BaseExceptionGroup):
                    return

        task_status.started()
        await listener.serve(forward)


async def copy(source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream) -> None:
    try:
        async for chunk in source:
            await sink.send(chunk)
        await sink.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        await sink.aclose()


def slices_of(service: Object, slices: list[Object]) -> list[Object]:
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    return [
        one
        for one in slices
        if one["metadata"]["namespace"] == namespace and one["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name
    ]


def found_for(service: Object, slices: list[Object]) -> Iterator[str]:
    for one in slices_of(service, slices):
        yield from addresses(one)


def addresses(one: Object) -> Iterator[str]:
    """Of ready endpoints; of a Service that publishes them unready, all are."""
    for endpoint in one.get("endpoints") or []:
        if endpoint["conditions"].get("ready"):
            yield from endpoint["addresses"]


def targets_of(service: Object, slices: list[Object]) -> dict[Port, list[Port]]:
    """Where each port of its address leads."""
    address = service["spec"].get("clusterIP", "None")
    if address == "None" or service["metadata"]["name"] == "kubernetes":
        return {}
    return {
        Port(address, port["port"]): [
            Port(found, other["port"])
            for one in slices_of(service, slices)
            for other in one.get("ports") or []
            if other.get("name") == port.get("name", "")
            for found in addresses(one)
        ]
        for port in service["spec"]["ports"]
    }
