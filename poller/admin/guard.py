"""What holds for every answer of the admin server: headers that keep a browser from lending it to other pages, and whom it answers.

A page of somebody else's can make a browser believe that its own name is our address (DNS rebinding), and read what is served to localhost. So what
comes over loopback, a port that kubectl forwards included, must call us by an address or by `localhost`. Over the network names are whatever the
operator's Services, proxies and gateways make of them: there it is the network policy that says who may ask.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
"""An answer may have its own instead."""

_host = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:]*)(:[0-9]+)?")


class Guarded:
    """An application behind these headers and that check."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if over_loopback(scope) and not names_this_machine(host):
            refused = JSONResponse({"error": "over loopback, ask by address or as localhost: another name may be a page's trick"}, 421)
            await refused(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)


def over_loopback(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and is_loopback(server[0])


def is_loopback(address: str) -> bool:
    """Who listens on `::` is reached over IPv4 as well, by an address within one of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def names_this_machine(host: str) -> bool:
    """Whether a Host header holds an address, or `localhost`. Without one it is no browser that asks."""
    found = _host.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]").rstrip(".").lower()
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
