"""Pauses: what stops every call, whoever it is for, how long, and why."""

import math

from poller.core import backoff
from poller.errors import CustomerUnknown, SourceError
from poller.model import Quota


class Pauses:
    """Told what came of calls, it says until when none may be made."""

    def __init__(self) -> None:
        self.until = -math.inf
        """No call is made before."""
        self.why = ""
        self.refused = ""
        """Why the API refuses every call until somebody mends something; empty where it is not known to."""
        self._failures = 0

    def answered(self, quota: Quota, server_time: float | None, now: float) -> None:
        """The API is there; what it says of its quota is obeyed where nothing remains."""
        self._failures, self.refused = 0, ""
        if quota.remaining == 0:
            self._pause(now + backoff.quota_wait_seconds(quota.resets_at, server_time), "nothing remains of the quota")

    def failed(self, error: SourceError, now: float) -> None:
        """A call failed for a reason that may concern every call."""
        if isinstance(error, CustomerUnknown):
            self._failures, self.refused = 0, ""  # the API is there, and takes our credentials
        else:
            self._failures = max(1, self._failures + (now >= self.until))  # what was under way when a pause began says nothing new
        self.refused = str(error) if isinstance(error, backoff.TO_BE_MENDED) else self.refused
        wait = backoff.source_wait_seconds(error, self._failures)
        if wait > 0:
            self._pause(now + wait, str(error))

    def _pause(self, until: float, why: str) -> None:
        if until > self.until:
            self.until, self.why = until, why
