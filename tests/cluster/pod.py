"""One pod on a node: its volumes, its one container as a real process, its probes, what is told of it, and its end."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio

from tests.cluster import container as container_script
from tests.cluster.api import Api, Object, Refused
from tests.cluster.images import Bind, Images
from tests.cluster.network import Sandbox, Services
from tests.cluster.probes import watched
from tests.cluster.volumes import Waiting, variables, write_volume

RETRY_SECONDS = 0.5
EXIT_POLL_SECONDS = 0.05
RESTART_SECONDS, RESTART_SECONDS_MAX = 1.0, 10.0
"""After a container ended, doubled each time. A kubelet begins with ten, and goes up to five minutes."""

VOLUMES_SECONDS = 1.0
"""How often changed ConfigMaps and Secrets are looked for; a kubelet takes up to a minute or two."""


APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
"""Its command is process 1, to which signals are nothing that it does not handle, as in any container."""


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Ended(Exception):
    """The container's process is gone, or must go: why."""


@dataclass
class Node:
    """What the pods of one node share."""

    name: str
    api: Api
    images: Images
    services: Services
    directory: Path
    ends: list[Object]
    """How every container ended, of all nodes."""


@dataclass
class Pod:
    node: Node
    object: Object
    address: str
    deleted: anyio.Event = field(default_factory=anyio.Event)
    ready: bool = False
    started: bool = False
    restarts: int = 0
    last_end: Object = field(default_factory=dict)
    state: Object = field(default_factory=dict)

    def __post_init__(self) -> None:
        metadata = self.object["metadata"]
        self.name: str = metadata["name"]
        self.path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{self.name}"
        self.uid: str = metadata["uid"]
        self.directory = self.node.directory / self.uid
        self.log_path = self.node.directory / "logs" / f"{metadata['namespace']}_{self.name}.log"
        (self.container,) = self.object["spec"]["containers"]  # what runs here has one, and none that prepares
        assert not self.object["spec"].get("initContainers"), "not known here"
        self._sandbox: Sandbox | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._since = stamp()

    @property
    def pid(self) -> int:
        """Of the container's first process, as we see it."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else self.process.pid

    async def run(self) -> None:
        """From being bound to this node until it is gone from the API server."""
        self.directory.mkdir(parents=True)
        self.log_path.parent.mkdir(exist_ok=True)
        self.state = {"waiting": {"reason": "ContainerCreating"}}
        try:
            await self.tell()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._live)
                await self.deleted.wait()
                tasks.cancel_scope.cancel()
            await self._terminate()
            await self._gone()
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
            if self._sandbox is not None:
                self._sandbox.close()

    # -------------------------------------------------------------------------------------------------------- its life

    async def _live(self) -> None:
        environment = await self._prepared()
        self._sandbox = Sandbox(self.address)
        await self._sandbox.connect()
        pause_seconds = RESTART_SECONDS
        while True:
            try:
                await self._once(environment)
            except Ended as ended:
                self.ready = self.started = False
                self.restarts += 1
                self.state = {"waiting": {"reason": "CrashLoopBackOff", "message": str(ended)}}
                await self.tell()
            await anyio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, RESTART_SECONDS_MAX)

    async def _prepared(self) -> dict[str, str]:
        """Its volumes are written; its variables. As long as something is missing, that is told."""
        while True:
            try:
                await self._write_volumes()
                return await variables(self.node.api, self.object, self.container, self.address)
            except Waiting as waiting:
                said = {"waiting": {"reason": waiting.reason, "message": waiting.message}}
                if self.state != said:
                    self.state = said
                    await self.tell()
            await anyio.sleep(RETRY_SECONDS)

    async def _write_volumes(self) -> None:
        for volume in self.object["spec"].get("volumes", []):
            await write_volume(self.node.api, self.object, volume, self.directory / "volumes" / volume["name"])

    async def _refresh_volumes(self) -> None:
        while True:
            await anyio.sleep(VOLUMES_SECONDS)
            try:
                await self._write_volumes()
            except Waiting:
                continue  # what was there stays

    async def _once(self, environment: dict[str, str]) -> None:
        """One life of the container. Raises `Ended`."""
        self.process = process = self._spawn(environment)
        self.state = {"running": {"startedAt": stamp()}}
        self.started = "startupProbe" not in self.container
        self.ready = self.started and "readinessProbe" not in self.container
        await self.tell()
        why = ""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._probe)
                tasks.start_soon(self._refresh_volumes)
                while process.poll() is None:  # noqa: ASYNC110 - a process that ends sets no event of ours
                    await anyio.sleep(EXIT_POLL_SECONDS)
                raise Ended(f"it ended with {process.returncode}")
        except* Ended as group:
            why = str(first_of(group))
        asked = process.poll() is None
        killed = await self._stop()
        self._note_end(asked=asked, seconds=0.0, killed=killed)
        raise Ended(why)

    def _spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        assert self._sandbox is not None
        spec = self.directory / "container.json"
        spec.write_text(json.dumps(self._spec(environment)))
        inside = [*self._sandbox.inside, *APART, "/usr/bin/env", "python3", "-I", container_script.__file__, str(spec)]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _spec(self, environment: dict[str, str]) -> Object:
        start = self.node.images.start(self.container["image"], environment, self.directory)
        root = self.directory / "root"
        root.mkdir(exist_ok=True)
        security = {**self.object["spec"].get("securityContext", {}), **self.container.get("securityContext", {})}
        volumes = {volume["name"]: volume for volume in self.object["spec"].get("volumes", [])}
        mounts = [self._bind(volumes[one["name"]], one) for one in self.container.get("volumeMounts", [])]
        return {
            "root": str(root),
            "hosts": str(self.node.services.hosts(self.object["metadata"]["namespace"])),
            "binds": [(str(bind.source), bind.target, bind.writable) for bind in (*start.binds, *mounts)],
            "read_only": security.get("readOnlyRootFilesystem", False),
            "user": security.get("runAsUser", 0),
            "group": security.get("runAsGroup", 0),
            "groups": [security["fsGroup"]] if "fsGroup" in security else [],
            "drop_all": "ALL" in security.get("capabilities", {}).get("drop", []),
            "no_new_privileges": security.get("allowPrivilegeEscalation") is False,
            "environment": {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOSTNAME": self.name, **start.environment, **environment},
            "command": [*(self.container.get("command") or start.command), *self.container.get("args", [])],
        }

    def _bind(self, volume: Object, mount: Object) -> Bind:
        assert "subPath" not in mount, "not known here"
        writable = "emptyDir" in volume and not mount.get("readOnly", False)
        return Bind(self.directory / "volumes" / volume["name"], mount["mountPath"], writable)

    # ------------------------------------------------------------------------------------------------------ its probes

    async def _probe(self) -> None:
        """Each until cancelled; the others wait for the startup probe."""
        running = anyio.Event()
        async with anyio.create_task_group() as tasks:
            if "startupProbe" in self.container:
                tasks.start_soon(self._watch, "startupProbe", running)
                await running.wait()
                tasks.cancel_scope.cancel()
        self.started = True
        self.ready = "readinessProbe" not in self.container
        await self.tell()
        async with anyio.create_task_group() as tasks:
            for name in ("livenessProbe", "readinessProbe"):
                if name in self.container:
                    tasks.start_soon(self._watch, name, running)

    async def _watch(self, name: str, running: anyio.Event) -> None:
        changes: list[bool] = []

        def tell(good: bool) -> None:
            if not good and name != "readinessProbe":
                raise Ended(f"its {name} failed")
            if name == "startupProbe":
                running.set()
            changes.append(good)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watched, self.container, self.container[name], self.address, tell)
            while name == "readinessProbe":
                await anyio.sleep(EXIT_POLL_SECONDS)
                if changes and changes[-1] is not self.ready:
                    self.ready = changes[-1]
                    await self.tell()
                changes.clear()

    # --------------------------------------------------------------------------------------------------------- its end

    async def _terminate(self) -> None:
        """SIGTERM, and SIGKILL when the grace is over."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        began = time.monotonic()
        killed = await self._stop()
        self._note_end(asked=True, seconds=time.monotonic() - began, killed=killed)

    async def _stop(self) -> bool:
        """Whether it had to be killed."""
        process = self.process
        assert process is not None
        grace = self.object["metadata"].get("deletionGracePeriodSeconds", self.object["spec"]["terminationGracePeriodSeconds"])
        if process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        with anyio.move_on_after(grace):
            while process.poll() is None:  # noqa: ASYNC110 - as above
                await anyio.sleep(EXIT_POLL_SECONDS)
        killed = process.poll() is None
        process.kill()
        process.wait()
        return killed

    def _note_end(self, *, asked: bool, seconds: float, killed: bool) -> None:
        assert self.process is not None
        code = self.process.returncode
        self.last_end = {"terminated": {"exitCode": code % 256, "finishedAt": stamp(), "reason": "Completed" if code == 0 else "Error"}}
        self.node.ends.append(
            {"pod": self.name, "code": code, "seconds": seconds, "killed": killed, "asked": asked, "started": self.started}
        )

    async def _gone(self) -> None:
        self.ready = False
        self.state = self.last_end or self.state
        try:
            await self.tell()
            await self.node.api.delete(self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
        except Refused as error:
            if error.status not in {404, 409}:
                raise

    # ----------------------------------------------------------------------------------------------------- what is told

    async def tell(self) -> None:
        """The pod's status, to the API server."""
        body = {"metadata": {"uid": self.uid}, "status": self.status()}
        try:
            await self.node.api.patch(f"{self.path}/status", body)
        except Refused as error:
            if error.status not in {404, 409}:
                raise

    def status(self) -> Object:
        waiting = "waiting" in self.state
        return {
            "phase": "Pending" if waiting and not self.restarts else "Running",
            "hostIP": "127.0.0.1",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._since,
            "conditions": conditions(
                {"Initialized": True, "PodReadyToStartContainers": True, "ContainersReady": self.ready, "Ready": self.ready}
            ),
            "containerStatuses": [
                {
                    "name": self.container["name"],
                    "image": self.container["image"],
                    "imageID": "",
                    "ready": self.ready,
                    "started": self.started,
                    "restartCount": self.restarts,
                    "state": self.state,
                    "lastState": self.last_end,
                }
            ],
        }


def conditions(stand: dict[str, bool]) -> Sequence[Object]:
    return [{"type": name, "status": str(true), "lastTransitionTime": stamp()} for name, true in stand.items()]


def first_of(error: BaseException) -> BaseException:
    """Out of however many groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
