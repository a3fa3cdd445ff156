"""Whether a restored partition may be owned by this deployment. Pure; the rules are those of `core/ownership.py`."""

from poller.core.ownership import refusal
from poller.errors import LogRefused
from poller.model import Ledger, Ownership


def check_ownership(found: Ownership | None, application_id: str, url: str, partitions: int) -> None:
    """Raises `LogRefused`. What else the record says may differ: whoever restores reports it."""
    ours = Ownership(
        application_id=application_id, url=url, endpoint="", partitions=partitions, watched_hash="", owner="", ledger=Ledger(level=0)
    )
    why = refusal(found, ours)
    if why is not None:
        raise LogRefused(f"the checkpoint topic cannot be used: {why}")
