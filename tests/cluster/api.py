"""The API server, asked by HTTP (`Api`) and as its users do (`Kubectl`)."""

import json
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
import httpx

from tests.cluster.certificates import Pair

SERVER = "https://127.0.0.1:6443"
CALL_SECONDS_MAX = 30
KUBECTL_SECONDS_MAX = 300

Object = dict[str, Any]
"""A Kubernetes object, as JSON has it."""


class Refused(Exception):
    """The API server said no: its status and its words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """One connection pool, with a client's certificate."""

    def __init__(self, authority: Path, client: Pair) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(client.certificate, client.key)
        self._client = httpx.AsyncClient(verify=context, trust_env=False, timeout=CALL_SECONDS_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def answers(self, url: str) -> bool:
        """Whether this address says 200."""
        try:
            return (await self._client.get(url)).status_code == 200
        except httpx.TransportError:
            return False

    async def get(self, path: str, **parameters: str) -> Object:
        return await self._call("GET", path, parameters=parameters)

    async def items(self, path: str, **parameters: str) -> list[Object]:
        listed: list[Object] = (await self.get(path, **parameters))["items"]
        return listed

    async def post(self, path: str, body: Object) -> Object:
        return await self._call("POST", path, body)

    async def delete(self, path: str, body: Object | None = None) -> Object:
        return await self._call("DELETE", path, body)

    async def patch(self, path: str, body: Object) -> Object:
        """Lists with a merge key (conditions, by type) are merged by it."""
        return await self._call("PATCH", path, body, content_type="application/strategic-merge-patch+json")

    async def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        parameters: Mapping[str, str] = {},
        content_type: str = "application/json",
    ) -> Object:
        content = None if body is None else json.dumps(body)
        headers = {"content-type": content_type}
        answer = await self._client.request(method, f"{SERVER}{path}", content=content, params=dict(parameters), headers=headers)
        said: Object = answer.json()
        if answer.status_code >= 400:
            raise Refused(answer.status_code, str(said.get("message", said)))
        return said


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("Warning")]


class Kubectl:
    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self._command = [str(program), f"--kubeconfig={kubeconfig}"]

    async def __call__(self, *args: str, stdin: str = "") -> Ran:
        began = time.monotonic()
        with anyio.fail_after(KUBECTL_SECONDS_MAX):
            ran = await anyio.run_process([*self._command, *args], input=stdin.encode(), check=False)
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode(), time.monotonic() - began)

    async def done(self, *args: str, stdin: str = "") -> Ran:
        """One that must succeed."""
        ran = await self(*args, stdin=stdin)
        assert ran.code == 0, f"kubectl {' '.join(args)}: {ran.err.strip()}"
        return ran

    async def apply(self, folder: Path) -> Ran:
        return await self("apply", "--server-side", "--validate=strict", "-k", str(folder))

    async def apply_object(self, *objects: Object) -> Ran:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return await self("apply", "--server-side", "--validate=strict", "-f", "-", stdin=json.dumps(listed))
