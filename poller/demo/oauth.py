"""The simulated API's OAuth tokens: `POST /v1/oauth/token`, and which tokens are alive."""

from hashlib import blake2b
from urllib.parse import parse_qs

import msgspec

from poller.demo.answers import Answer, Problem, Request
from poller.demo.options import SimulatorOptions

LIVE_TOKENS_MAX = 1_000


class Tokens:
    """The tokens issued, oldest first; beyond the limit the oldest dies."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.issued = 0
        self._expires_at: dict[str, float] = {}

    def issue(self, expires_at: float) -> str:
        token = blake2b(f"{self._seed}/token/{self.issued}".encode(), digest_size=24).hexdigest()
        self.issued += 1
        self._expires_at[token] = expires_at
        if len(self._expires_at) > LIVE_TOKENS_MAX:
            del self._expires_at[next(iter(self._expires_at))]
        return token

    def valid(self, token: str, now: float) -> bool:
        return self._expires_at.get(token, now) > now

    def revoke_all(self) -> None:
        self._expires_at.clear()


def token_answer(tokens: Tokens, request: Request, options: SimulatorOptions, now: float) -> Answer:
    """A new token. Raises `Problem` for another grant type or scope."""
    form = parse_qs(request.body.decode("latin-1"))
    if form.get("grant_type") != ["client_credentials"]:
        raise Problem(400, "invalid_grant_type", "Invalid grant type")
    if form.get("scope") != ["customers"]:
        raise Problem(400, "invalid_scope", "Invalid scope")
    expires_at = now + options.token_seconds
    token = {
        "access_token": tokens.issue(expires_at),
        "client_id": options.app_id,
        "expires_at": int(expires_at),
        "expires_in": int(options.token_seconds),
        "scope": "customers",
        "token_type": "Bearer",
    }
    return Answer(200, msgspec.json.encode(token))
