"""What becomes of each webhook: refused, known already, or a hint to whoever owns its customers. Never waits."""

from collections.abc import Callable

from poller.errors import Forged, NotAHint, TooManyHints
from poller.journal import Journal
from poller.model import Hint, Whose
from poller.secret import Secret
from poller.voucherify import webhook

WEBHOOKS_PER_SECOND = 50.0
"""More than the largest plan has calls to make use of. What is beyond is refused before it is looked at, so that a flood costs little."""

BURST_MAX = 200.0

BYTES = 4096
"""A larger one counts as several: to verify the largest that is taken lasts some 50 ms, whoever sent it."""

IDS_MAX = 10_000
"""Of webhooks, remembered to know one that comes again: Voucherify sends again what was not answered, up to 12 times in a day."""


class Inbox:
    """`take` each webhook; `hinted` is who hears of it first, and `forward` takes what is another's, or does not and returns False."""

    def __init__(
        self, secret: Secret, clock: Callable[[], float], hinted: Callable[[Hint], Whose], forward: Callable[[Hint], bool], journal: Journal
    ) -> None:
        self._secret = secret
        self._clock = clock
        self._hinted = hinted
        self._forward = forward
        self._journal = journal
        self._ids: dict[str, None] = {}
        self._room = BURST_MAX
        self._room_at = clock()

    def take(self, body: bytes, signature: str) -> None:
        """Raises `HintError`, and nothing else; then it is as if it had not come."""
        self._make_room(max(1.0, len(body) / BYTES))
        try:
            webhook.verify(self._secret.reveal(), body, signature)
            event = webhook.decode(body)
        except (Forged, NotAHint) as error:
            self._journal.webhook_refused(error, self._clock())
            raise
        if event.id in self._ids:
            self._journal.hint("repeated")
            return
        self._remember(event.id)
        self._journal.hint("received")
        whose = [self._pass_on(Hint(customer, event.created_at_ms)) for customer in event.customers]
        if all(one == "nobody's" for one in whose):
            self._journal.hint("unknown")

    def _pass_on(self, hint: Hint) -> Whose:
        whose = self._hinted(hint)
        if whose == "another's":
            self._journal.hint("forwarded" if self._forward(hint) else "dropped")
        return whose

    def _make_room(self, wanted: float) -> None:
        now = self._clock()
        self._room = min(BURST_MAX, self._room + (now - self._room_at) * WEBHOOKS_PER_SECOND)
        self._room_at = now
        if self._room < wanted:
            self._journal.hint("dropped")
            raise TooManyHints
        self._room -= wanted

    def _remember(self, id: str) -> None:
        self._ids[id] = None
        if len(self._ids) > IDS_MAX:
            del self._ids[next(iter(self._ids))]
