"""What stands for the kubelets: nodes that are registered and keep their leases, and run the pods that the scheduler binds to them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import anyio
import anyio.abc

from tests.cluster.api import Api, Object, Refused
from tests.cluster.pod import Node, Pod, conditions

ZONES = {"node-1": "zone-a", "node-2": "zone-b", "node-3": "zone-c"}
RENEW_SECONDS = 5
POLL_SECONDS = 0.2
HEADROOM = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "20Gi", "pods": "50"}


class Kubelets:
    """All of the cluster's nodes, in one loop."""

    def __init__(self, api: Api, nodes: dict[str, Node]) -> None:
        self._api = api
        self._nodes = nodes
        self._addresses = addresses()
        self.pods: dict[str, Pod] = {}
        """By uid, from being bound until gone."""

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Until cancelled; its containers end with it."""
        for number, name in enumerate(self._nodes, start=1):
            await self._register(name, number)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._renew)
            task_status.started()
            while True:
                listed = await self._api.items("/api/v1/pods")
                for found in listed:
                    self._see(found, tasks)
                present = {found["metadata"]["uid"] for found in listed}
                for pod in self.pods.values():
                    if pod.uid not in present:
                        pod.deleted.set()  # by force
                await anyio.sleep(POLL_SECONDS)

    def _see(self, found: Object, tasks: anyio.abc.TaskGroup) -> None:
        uid, node = found["metadata"]["uid"], found["spec"].get("nodeName")
        if node in self._nodes and uid not in self.pods and "deletionTimestamp" not in found["metadata"]:
            self.pods[uid] = pod = Pod(self._nodes[node], found, next(self._addresses))
            tasks.start_soon(self._keep, pod)
        elif uid in self.pods and "deletionTimestamp" in found["metadata"]:
            self.pods[uid].object["metadata"].update(found["metadata"])
            self.pods[uid].deleted.set()

    async def _keep(self, pod: Pod) -> None:
        try:
            await pod.run()
        finally:
            del self.pods[pod.uid]

    async def _register(self, name: str, number: int) -> None:
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": ZONES[name]}
        await self._api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        lease = {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}}
        await self._api.post("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease)
        status = {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}, {"type": "Hostname", "address": name}],
            "capacity": HEADROOM,
            "allocatable": HEADROOM,
            "conditions": conditions({"Ready": True, "MemoryPressure": False, "DiskPressure": False, "PIDPressure": False}),
        }
        await self._api.patch(f"/api/v1/nodes/{name}/status", {"status": status})

    async def _renew(self) -> None:
        while True:
            for name in self._nodes:
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                try:
                    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
                    await self._api.patch(path, {"spec": {"renewTime": now}})
                except Refused as error:
                    if error.status != 404:
                        raise
            await anyio.sleep(RENEW_SECONDS)


def addresses() -> Iterator[str]:
    """Of pods; none is given twice."""
    for third in range(1, 255):
        for fourth in range(2, 255):
            yield f"10.244.{third}.{fourth}"
