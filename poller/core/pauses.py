"""Pauses: what stops every call, whoever it is for, how long, and why."""

import math

from poller.core import backoff
from poller.errors import CustomerUnknown, Limited, PlanExceeded, SourceError
from poller.model import Hindrance, Quota


class Pauses:
    """Told what came of calls, it says until when none may be made."""

    def __init__(self) -> None:
        self.until = -math.inf
        """No call is made before."""
        self.why = ""
        self.by: Hindrance = "failures"
        """What the last pause was made for: the API's quota, or its failures."""
        self.refused = ""
        """Why the API refuses our credentials; empty where it is not known to."""
        self.remaining: int | None = None
        """What the API last said to be left of its quota; `None`: it says nothing of it."""
        self._failures = 0

    def answered(self, quota: Quota, server_time: float | None, now: float) -> None:
        """The API is there; what it says of its quota is obeyed where nothing remains."""
        self._failures, self.refused = 0, ""
        self.remaining = self.remaining if quota.remaining is None else quota.remaining
        if quota.remaining == 0:
            self._pause(now + backoff.quota_wait_seconds(quota.resets_at, server_time), "nothing remains of the quota", "quota")

    def failed(self, error: SourceError, now: float) -> None:
        """A call failed for a reason that may concern every call."""
        if isinstance(error, CustomerUnknown):
            self._failures, self.refused = 0, ""  # the API is there, and takes our credentials
        else:
            self._failures = max(1, self._failures + (now >= self.until))  # what was under way when a pause began says nothing new
        self.refused = str(error) if isinstance(error, backoff.OF_OUR_SETTINGS) else self.refused
        wait = backoff.source_wait_seconds(error, self._failures)
        if wait > 0:
            self._pause(now + wait, str(error), "quota" if isinstance(error, Limited | PlanExceeded) else "failures")

    def _pause(self, until: float, why: str, by: Hindrance) -> None:
        if until > self.until:
            self.until, self.why, self.by = until, why, by
