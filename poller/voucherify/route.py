"""Where a call goes: the path and the query of each of the two endpoints. Pure.

Every part is percent-encoded with nothing safe, so that an id stays one segment of the path whatever it holds.
"""

from typing import Literal
from urllib.parse import quote

from poller import instant
from poller.customer_id import refusal
from poller.errors import Rejected
from poller.model import CustomerId, Query

Endpoint = Literal["activities", "activity"]

FILTERS_OF_SUCCESSOR = ("campaign_type", "campaign_id")


def target(endpoint: Endpoint, customer: CustomerId, query: Query) -> str:
    """Path and query of one call, without the base. Raises `Rejected` for what cannot be asked, before any call is made."""
    refused = refusal(customer)
    if refused is not None:
        raise Rejected(f"the customer's id {refused}")
    return f"{path(endpoint, customer)}?order=created_at&limit={query.limit}{_beginning(endpoint, query)}{_filters(endpoint, query)}"


def path(endpoint: str, customer: str) -> str:
    """Where a customer's activities are, whatever is asked of them."""
    return f"/v1/customers/{_encoded(customer)}/{endpoint}"


def _beginning(endpoint: Endpoint, query: Query) -> str:
    if query.starting_after_ms is not None:
        if endpoint == "activity":
            raise Rejected("the endpoint `activity` has no `starting_after`")
        return f"&starting_after={encoded_date_time(query.starting_after_ms)}"
    if query.starting_after_id is not None:
        return f"&starting_after_id={_encoded(query.starting_after_id)}"
    if query.start_date_ms is not None:
        return f"&start_date={encoded_date_time(query.start_date_ms)}"
    return ""


def _filters(endpoint: Endpoint, query: Query) -> str:
    """Without one of them, more would be published than is wanted: so none is left out."""
    for name, _ in query.filters:
        if endpoint == "activity" and name not in FILTERS_OF_SUCCESSOR:
            raise Rejected(f"the endpoint `activity` has no `{name}`: take it out of the customer's watch entry")
    return "".join(f"&{name}={_encoded(value)}" for name, value in query.filters)


def encoded_date_time(ms: int) -> str:
    """An instant as a query's value. Raises `Rejected` where it is no date."""
    try:
        return _encoded(instant.format(ms))
    except OverflowError:
        raise Rejected(f"{ms} ms is no date") from None


def _encoded(text: str) -> str:
    return quote(text, safe="")
