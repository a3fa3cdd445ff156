"""Where a customer that may be called again stands: in its schedule, as whom it is then, or before that among those who wait to be looked up."""

from poller.core import replay
from poller.core.owned import Customer, Owned
from poller.core.watched import has_ended
from poller.model import CustomerId, WatchEntry

PAGES_AT_ONCE_MAX = 20
"""Pages of one read that go before all others; whoever has more shares the calls from then on, as a backfill does."""


def place(
    owned: Owned, customer_id: CustomerId, customer: Customer, entry: WatchEntry, failed_until: float | None = None, *, first: bool = False
) -> None:
    """Put who is away there. `failed_until`: it is not to be called before. `first`: before everybody."""
    schedule, rewind = owned.schedule, replay.current(entry, customer.checkpoint)
    if has_ended(entry, customer.checkpoint):
        schedule.remove(customer_id)
        owned.lookups.drop(customer_id)
        return
    if rewind is not None and owned.lookups.lacks(customer_id, rewind):
        owned.lookups.ask(customer_id, rewind)
        return
    if rewind is None:
        owned.lookups.drop(customer_id)
    customer.scheduled = True
    if first:
        schedule.put_first(customer_id)
    elif failed_until is not None:
        schedule.put_failed(customer_id, failed_until)
    elif replay.goes_on(entry, customer.checkpoint):
        schedule.put_backfill(customer_id)
    elif customer.walk is None:
        schedule.put(customer_id)
    elif customer.walk.calls >= PAGES_AT_ONCE_MAX or (customer.checkpoint is not None and customer.checkpoint.last_read is None):
        schedule.put_backfill(customer_id)
    else:
        schedule.put_page(customer_id)
