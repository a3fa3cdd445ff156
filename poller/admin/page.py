"""`/`: the status page. One file, which asks nobody but us: its script and its style are allowed by their hashes, and nothing else is."""

import base64
import hashlib
import re
from importlib.resources import files

from starlette.responses import Response


def page() -> Response:
    """The same for everybody: what it shows comes by `/events`."""
    text = files("poller.admin").joinpath("page.html").read_text(encoding="utf-8")
    return Response(text, media_type="text/html", headers={"content-security-policy": policy(text)})


def policy(text: str) -> str:
    """Content-Security-Policy (level 3): what this text may do."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash_of('script', text)}",
            f"style-src {_hash_of('style', text)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash_of(element: str, text: str) -> str:
    """Of the one such element."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
