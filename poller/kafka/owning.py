"""Whether a restored partition may be owned by this deployment. Pure; the rules are those of `core/ownership.py`."""

from poller.core.ownership import refusal
from poller.errors import NotOurs
from poller.model import Ledger, Ownership


def check_ownership(found: Ownership | None, application_id: str, url: str, partitions: int) -> None:
    """Raises `NotOurs`. What else the record says may differ: whoever restores reports it."""
    ours = Ownership(
        application_id=application_id, url=url, endpoint="", partitions=partitions, watched_hash="", owner="", ledger=Ledger(level=0)
    )
    why = refusal(found, ours)
    if why is not None:
        raise NotOurs(why)
