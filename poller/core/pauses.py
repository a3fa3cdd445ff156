"""Pauses: what stops every call, whoever it is for, how long, and why."""

import math
from collections import Counter

from poller.core import backoff
from poller.errors import CustomerUnknown, Limited, PlanExceeded, Rejected, SourceError
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
        self._failures: Counter[backoff.Kind] = Counter()

    def answered(self, quota: Quota, server_time: float | None, now: float) -> None:
        """The API is there; what it says of its quota is obeyed where nothing remains."""
        self._recovered()
        self.remaining = self.remaining if quota.remaining is None else quota.remaining
        if quota.remaining == 0:
            self._pause(now + backoff.quota_wait_seconds(quota.resets_at, server_time), "nothing remains of the quota", "quota")

    def failed(self, error: SourceError, now: float, said: str | None = None) -> None:
        """A call failed for a reason that may concern every call. `said`: the error in words, as they may be shown."""
        said = str(error) if said is None else said
        if isinstance(error, CustomerUnknown):
            self._recovered()  # the API is there, and takes our credentials
        if isinstance(error, CustomerUnknown | Rejected):
            return  # it is of one customer
        kind = backoff.kind_of(error)
        self._failures[kind] = max(1, self._failures[kind] + (now >= self.until))  # what was under way when a pause began says nothing new
        self.remaining = 0 if isinstance(error, Limited) else self.remaining
        self.refused = said if isinstance(error, backoff.OF_OUR_SETTINGS) else self.refused
        wait = backoff.source_wait_seconds(error, self._failures[kind])
        if wait > 0:
            self._pause(now + wait, said, "quota" if isinstance(error, Limited | PlanExceeded) else "failures")

    def _recovered(self) -> None:
        self._failures.clear()
        self.refused = ""

    def _pause(self, until: float, why: str, by: Hindrance) -> None:
        if until > self.until:
            self.until, self.why, self.by = until, why, by
