"""What the checks stand on: a cluster that runs, and overlays of the manifests that change one thing each."""

import json
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.cluster.api import Api, Kubectl, Object, Ran
from tests.cluster.kubelet import ZONES, Kubelets
from tests.cluster.network import Services
from tests.cluster.pod import Pod
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
NAME = "voucherify-activity-poller"
POLLERS = f"app.kubernetes.io/name={NAME},app.kubernetes.io/component=poller"
DEV, PRODUCTION = f"{NAME}-dev", NAME
ADMIN_PORT = 8080
ROLLOUT_SECONDS_MAX = 180
GONE_SECONDS_MAX = 120


class Trial:
    def __init__(self, directory: Path, api: Api, kubectl: Kubectl, kubelets: Kubelets, services: Services, ends: list[Object]) -> None:
        self.api = api
        self.kubectl = kubectl
        self.kubelets = kubelets
        self.services = services
        self.ends = ends
        """How each container ended."""
        self.manifests = directory / "deploy" / "kustomize"
        shutil.copytree(ROOT / "deploy" / "kustomize", self.manifests)
        shutil.copytree(ROOT / "config", directory / "config")

    def overlay(self, name: str, above: str, **more: Any) -> Path:
        """A folder `overlays/{name}` over `overlays/{above}`, with what `more` says."""
        folder = self.manifests / "overlays" / name
        folder.mkdir(exist_ok=True)
        head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
        resources = [above if above.startswith("..") else f"../{above}", *more.pop("resources", [])]
        # JSON is YAML.
        (folder / "kustomization.yaml").write_text(json.dumps({**head, "resources": resources, **more}))
        return folder

    def setting(self, name: str, above: str, namespace: str, **settings: str) -> Path:
        """An overlay with other settings."""
        literals = [f"{key}={value}" for key, value in settings.items()]
        generated = {"name": NAME, "namespace": namespace, "behavior": "merge", "literals": literals}
        return self.overlay(name, above, configMapGenerator=[generated])

    async def applied(self, folder: Path) -> Ran:
        """Applied without a warning."""
        ran = await self.kubectl.apply(folder)
        assert ran.code == 0, ran.err.strip()
        assert not ran.warnings, ran.warnings
        return ran

    async def rolled_out(self, namespace: str, name: str = NAME) -> Ran:
        try:
            return await self.kubectl.done("rollout", "status", f"deployment/{name}", "-n", namespace, f"--timeout={ROLLOUT_SECONDS_MAX}s")
        except AssertionError as error:
            raise AssertionError(f"{error}; {'; '.join(self.states(namespace))}") from None

    def states(self, namespace: str) -> list[str]:
        """How its pods stand, and the end of the log of those that are not ready."""
        return [f"{pod.name}: {pod.state}, restarts {pod.restarts}, ready {pod.ready}{last_words(pod)}" for pod in self.running(namespace)]

    def running(self, namespace: str, component: str = "poller") -> list[Pod]:
        """The pods that the nodes run."""
        return [
            pod
            for pod in self.kubelets.pods.values()
            if pod.object["metadata"]["namespace"] == namespace and component_of(pod.object) == component
        ]

    async def pods(self, namespace: str) -> list[Object]:
        """The pollers that the API server knows and that are to stay."""
        listed = await self.api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=POLLERS)
        return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]

    async def deployment(self, namespace: str) -> Object:
        return await self.api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}")

    async def budget(self, namespace: str, name: str = NAME) -> Object:
        return await self.api.get(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}")

    async def settled(self, namespace: str, replicas: int) -> list[Object]:
        """Until just so many are ready and available, and no other is left."""

        async def found() -> list[Object] | None:
            status = (await self.deployment(namespace))["status"]
            pods = await self.api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=POLLERS)
            return pods if len(pods) == replicas and status.get("availableReplicas") == replicas else None

        pods: list[Object] = await until(found, within_seconds=ROLLOUT_SECONDS_MAX)
        return pods

    async def ask(self, pod: Pod, path: str) -> int:
        """The status that this pod's admin server answers; 0: none."""
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            with suppress(httpx.HTTPError):
                return (await client.get(f"http://{pod.address}:{ADMIN_PORT}{path}")).status_code
        return 0

    async def ready_meanwhile(self, namespace: str, change: Callable[[], Awaitable[object]]) -> tuple[int, int]:
        """How few pods at least answered `/readyz` with 200 at any time during the change, and how often that was looked at."""
        seen: list[int] = []

        async def look() -> None:
            while True:
                answers = [await self.ask(pod, "/readyz") for pod in self.running(namespace)]
                seen.append(answers.count(200))
                await anyio.sleep(0.1)

        async with anyio.create_task_group() as looking:
            looking.start_soon(look)
            await change()
            looking.cancel_scope.cancel()
        return min(seen), len(seen)


def component_of(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def zones_of(pods: list[Object]) -> list[str]:
    return sorted(ZONES[pod["spec"]["nodeName"]] for pod in pods)


def last_words(pod: Pod) -> str:
    if pod.ready or not pod.log_path.exists():
        return ""
    return f", said {pod.log_path.read_text(errors='replace').strip()[-600:]!r}"
