"""A container's probes, asked over the network as a kubelet asks."""

from collections.abc import Callable

import anyio
import httpx

from tests.cluster.api import Object


def port_of(container: Object, named: str | int) -> int:
    """A probe's port, by number or by the container's name for it."""
    if isinstance(named, int):
        return named
    found: dict[str, int] = {port["name"]: port["containerPort"] for port in container.get("ports", []) if "name" in port}
    return found[named]


async def asked(container: Object, probe: Object, address: str) -> bool:
    """One try, within its timeout."""
    with anyio.move_on_after(probe.get("timeoutSeconds", 1)):
        try:
            if "httpGet" in probe:
                return await get(container, probe["httpGet"], address)
            if "tcpSocket" in probe:
                async with await anyio.connect_tcp(address, port_of(container, probe["tcpSocket"]["port"])):
                    return True
        except (OSError, httpx.HTTPError, KeyError):
            return False
        raise AssertionError(f"this kind of probe is not known here: {probe}")
    return False


async def get(container: Object, request: Object, address: str) -> bool:
    url = f"{request.get('scheme', 'HTTP').lower()}://{address}:{port_of(container, request['port'])}{request.get('path', '/')}"
    headers = {header["name"]: header["value"] for header in request.get("httpHeaders", [])}
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
        answer = await client.get(url, headers=headers)
    return 200 <= answer.status_code < 400


async def watched(container: Object, probe: Object, address: str, tell: Callable[[bool], None]) -> None:
    """Ask on and on; `tell` whenever so many tries in a row agree as the probe asks for."""
    await anyio.sleep(probe.get("initialDelaySeconds", 0))
    row, last = 0, False
    while True:
        good = await asked(container, probe, address)
        row, last = (row + 1 if good is last else 1), good
        if row >= probe.get("successThreshold" if good else "failureThreshold", 1 if good else 3):
            tell(good)
        await anyio.sleep(probe.get("periodSeconds", 10))
