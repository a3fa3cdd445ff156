"""The status page of real pollers, in a real Chromium."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import anyio.from_thread
import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import MISSING, PATH, SIZES, Scheme, Tab, chromium
from tests.browser.scene import pollers, url_of
from tests.support.processes import Poller

pytestmark = pytest.mark.skipif(PATH is None, reason=MISSING)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def replicas(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Poller]]:
    """Two, of which one stands by; in a loop of their own, as the browser's driver has the test's."""
    with anyio.from_thread.start_blocking_portal() as portal:
        scene = pollers(kafka, tmp_path_factory.mktemp("pollers"), 2)
        with portal.wrap_async_context_manager(scene) as started:
            yield started


def is_owner(poller: Poller) -> bool:
    return "owning" in httpx.get(f"{url_of(poller)}readyz", trust_env=False).json()["reason"]


@pytest.fixture
def owner(replicas: list[Poller]) -> Poller:
    return next(poller for poller in replicas if is_owner(poller))


@pytest.fixture
def standby(replicas: list[Poller]) -> Poller:
    return next(poller for poller in replicas if not is_owner(poller))


@pytest.fixture
def tabs(browser: Browser) -> Iterator[list[Tab]]:
    """Opened by the test, and closed after it; none has asked anybody but its own process."""
    opened: list[Tab] = []
    yield opened
    for tab in opened:
        tab.close()
        assert {re.sub(r"^(\w+://[^/]+/).*", r"\1", request) for request in tab.requests} == {tab.url}


def status_of(poller: Poller) -> dict[str, Any]:
    status: dict[str, Any] = httpx.get(f"{url_of(poller)}status", trust_env=False).json()
    return status


def test_it_shows_the_numbers_of_the_status_and_goes_on_by_itself(browser: Browser, owner: Poller, tabs: list[Tab]) -> None:
    tab = Tab(browser, url_of(owner))
    tabs.append(tab)
    before = status_of(owner)
    page = tab.open()
    tab.until(f"status.freshness.published > {before['freshness']['published']} && status.throughput.length > 3")
    shown = page.evaluate(
        """() => ({status, fresh: $("fresh").innerText, calls: $("yield").innerText, types: [...$("types").rows].map((row) => [...row.cells].map((cell) => cell.innerText)),
                   watched: $("watched").innerText, owners: $("owners").innerText, states: $("states").innerText})"""
    )
    after = status_of(owner)

    status = shown["status"]
    assert before["at"] < status["at"] <= after["at"]
    assert before["freshness"]["published"] < status["freshness"]["published"] <= after["freshness"]["published"]
    assert shown["calls"] == f"{status['activities_per_call']:.2f}"
    assert shown["fresh"] == "–" or shown["fresh"].endswith((" s", " min"))
    assert shown["types"] == [[one["type"], "", f"{one['last_hour']:,}", f"{one['published']:,}"] for one in status["throughput"][:8]]
    assert shown["watched"] == "48 watched in all"
    assert shown["owners"].startswith(f"{status['overview']['owner']} (this one)\t0\t100 %")
    assert tab.complaints == []


def test_the_one_that_stands_by_says_so_and_who_reads(browser: Browser, owner: Poller, standby: Poller, tabs: list[Tab]) -> None:
    tab = Tab(browser, url_of(standby))
    tabs.append(tab)
    tab.open()
    tab.says("#owners", status_of(owner)["overview"]["owner"])

    assert "Standing by" in tab.text("#sentence")
    assert "none: stands by" in tab.text("#owners")
    assert tab.complaints == []


LOOKS: Mapping[str, list[tuple[Scheme, str]]] = {
    "owner": [("light", "desktop"), ("dark", "desktop"), ("dark", "narrow")],
    "standby": [("light", "phone")],
}


@pytest.mark.parametrize("who", LOOKS)
def test_axe_finds_nothing_in_light_and_dark_and_nothing_is_wider_than_the_screen(
    browser: Browser, owner: Poller, standby: Poller, tabs: list[Tab], who: str
) -> None:
    tab = Tab(browser, url_of(owner if who == "owner" else standby))
    tabs.append(tab)
    page = tab.open()
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    faults = []
    for scheme, size in LOOKS[who]:
        width, height = SIZES[size]
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        faults += [f"{scheme} {size}: {fault}" for fault in tab.accessibility_faults()]
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            faults.append(f"wider than {size}")

    assert (faults, tab.complaints) == ([], [])


def test_all_that_can_be_opened_is_reached_and_opened_with_the_keyboard(browser: Browser, owner: Poller, tabs: list[Tab]) -> None:
    tab = Tab(browser, url_of(owner))
    tabs.append(tab)
    page = tab.open()
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText"))
        if reached.count("The same as a table") == 1 and reached[-1] == "The same as a table":
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            page.keyboard.press("Enter")
            tab.until("$('as-table').open && $('hour-rows').children.length > 0")

    assert {"The same as a table", "status", "metrics", "readiness"} <= set(reached)


def test_it_says_that_it_hears_nothing_and_goes_on_when_it_does(browser: Browser, standby: Poller, tabs: list[Tab]) -> None:
    tab = Tab(browser, url_of(standby))
    tabs.append(tab)
    tab.open()
    standby.send(signal.SIGSTOP)
    try:
        tab.says("#sentence", "No word from the process for")
        silent = tab.text("#word")
    finally:
        standby.send(signal.SIGCONT)
    tab.says("#word", "live")

    assert silent.startswith("no word for ")
    assert "No word" not in tab.text("#sentence")


def test_motion_is_left_out_for_who_does_not_want_it(browser: Browser, owner: Poller, tabs: list[Tab]) -> None:
    animations = []
    for still in (False, True):
        tab = Tab(browser, url_of(owner), still=still)
        tabs.append(tab)
        animations.append(tab.open().evaluate("getComputedStyle($('word'), '::before').animationName"))

    assert animations == ["beat", "none"]


# ---------------------------------------------------------------------------------------------------- what it makes of a status

HOSTILE = """<img src=x onerror="document.title='taken'"></script><script>alert(1)</script> & "quoted" """


def changed(
    status: dict[str, Any], *, ready: tuple[bool, str] | None = None, overview: dict[str, Any] | None = None, **fields: Any
) -> bytes:
    told: dict[str, Any] = {**status, **fields, "overview": {**status["overview"], **(overview or {})}}
    if ready is not None:
        told |= {"ready": ready[0], "reason": ready[1]}
    return json.dumps(told).encode()


@pytest.fixture(scope="module")
def told(browser: Browser, replicas: list[Poller]) -> Iterator[tuple[Tab, dict[str, Any]]]:
    """A page that hears nothing but what the test tells it, and how its process stood."""
    owner = next(poller for poller in replicas if is_owner(poller))
    tab, status = Tab(browser, url_of(owner)), status_of(owner)
    tab.open_told(changed(status))
    yield tab, status
    tab.close()


NOTHING_OWNED: dict[str, Any] = {
    "owned": [],
    "rate": None,
    "cycle": None,
    "parts": {},
    "surveyed": None,
    "oldest_called_at": None,
    "staleness_objective_seconds": None,
}


@pytest.mark.parametrize(
    ("changes", "level", "sentence"),
    [
        pytest.param({"overview": {"watched": 0, "owned": [0]}}, "rest", "Nobody is watched", id="nobody is watched"),
        pytest.param({"ready": (False, "not yet a member of the group"), "owners": {}, "overview": NOTHING_OWNED | {"partitions": 0}}, "rest", "Not ready: not yet a member of the group.", id="waiting for Kafka"),
        pytest.param({"ready": (False, "not yet a member of the group"), "owners": {}, "overview": NOTHING_OWNED | {"partitions": 0}, "troubles": [{"at": 4e9, "first_at": 4e9, "event": "waiting_for_kafka", "level": "warning", "means": "", "said": "no broker answers", "see": "", "times": 1}]}, "bad", "Waiting for Kafka: no broker answers", id="no broker answers"),
        pytest.param({"ready": (False, "draining")}, "rest", "Draining", id="draining"),
        pytest.param({"overview": {"paused_until": 4e9, "paused_why": "the quota is used up"}}, "bad", "Calls are paused for", id="paused for quota"),
        pytest.param({"overview": {"cycle": {"begun": "2026-11-01", "ends": 4e9, "calls": 10, "spent": 10, "left": 0, "calls_per_minute": 0}}}, "bad", "This billing cycle's calls are spent", id="cycle spent"),
        pytest.param({"budget_ends_at": 3e9}, "look", "At this pace the budget ends", id="budget ends early"),
        pytest.param({"overview": {"oldest_called_at": 1.0, "staleness_objective_seconds": 60}}, "look", "Behind: somebody has gone unread", id="behind"),
        pytest.param({"counters": {"poller_gaps_suspected_total": 2}}, "look", "Something may be missing or have come twice: 2 times", id="gaps"),
        pytest.param({"counters": {"poller_recent_ids_dropped_total": 1}}, "look", "Something may be missing or have come twice: 1 time", id="ids dropped"),
        pytest.param({"ready": (False, "restoring partitions [0]"), "troubles": [{"at": 4e9, "first_at": 4e9, "event": "partition_failed", "level": "warning", "means": "", "said": "no broker answers", "see": "", "times": 8}]}, "bad", "Not ready: restoring partitions [0]: no broker answers", id="Kafka went away"),
        pytest.param({"owners": {"0": "a"}, "started_at": 1.0, "overview": {"partitions": 3}}, "look", "2 partitions without a known owner", id="unowned"),
        pytest.param({"ready": (False, "the topics belong to another deployment")}, "bad", "Not ready: the topics belong", id="refused"),
    ],
)  # fmt: skip
def test_the_first_sentence_says_what_matters_most(
    told: tuple[Tab, dict[str, Any]], changes: dict[str, Any], level: str, sentence: str
) -> None:
    tab, status = told
    tab.page.evaluate("text => heard(text)", changed(status, **{"troubles": [], **changes}).decode())

    assert sentence in tab.text("#sentence")
    assert tab.page.locator("#verdict").get_attribute("class") == f"verdict {level}"
    assert tab.complaints == []


def test_what_the_process_tells_is_text_whatever_it_holds(browser: Browser, owner: Poller, tabs: list[Tab]) -> None:
    status = status_of(owner)
    trouble = {
        "at": status["at"],
        "first_at": status["at"],
        "event": HOSTILE,
        "level": "error",
        "means": HOSTILE,
        "said": HOSTILE,
        "see": HOSTILE,
        "times": 2,
    }
    surveyed = {
        "at": status["at"],
        "states": {"failing": 1},
        "oldest": [{"customer": HOSTILE, "state": "failing", "last_read": None, "error": HOSTILE}],
    }
    told = changed(
        status,
        ready=(False, HOSTILE),
        overview={"owner": HOSTILE, "surveyed": surveyed, "paused_until": 4e9, "paused_why": HOSTILE},
        owners={"0": HOSTILE},
        throughput=[{"type": HOSTILE, "published": 1, "last_hour": 1}],
        troubles=[trouble],
        url=HOSTILE,
        topic=HOSTILE,
        version=HOSTILE,
    )
    tab = Tab(browser, url_of(owner), size="narrow")
    tabs.append(tab)
    page = tab.open_told(told)

    for where in ("#oldest", "#types", "#owners", "#troubles", "#reasons", "#about", "#who"):
        assert "<img src=x onerror=" in tab.text(where), where
    assert page.locator("img").count() == 0 and page.locator("script").count() == 1
    assert page.title() == "✕ Activity poller"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []


# ----------------------------------------------------------------------------------------------------------------- the end


def test_it_shows_the_end_of_the_process_which_streams_do_not_hold_up(browser: Browser, replicas: list[Poller], tabs: list[Tab]) -> None:
    leaving = replicas[0]
    tab = Tab(browser, url_of(leaving))
    tabs.append(tab)
    tab.open()
    others = [tab.context.new_page() for _ in range(3)]
    for other in others:
        with other.expect_response("**/events"):
            other.goto(url_of(leaving), wait_until="commit")
    began = time.monotonic()
    leaving.send(signal.SIGTERM)
    while leaving.exit_code is None and time.monotonic() < began + 10:
        os.sched_yield()
        tab.page.wait_for_timeout(20)
    took = time.monotonic() - began
    print(f"ended after {took:.2f} s, with 4 streams")
    tab.says("#sentence", "The process has ended")

    assert leaving.exit_code == 0 and took < 6
    assert "Traceback" not in leaving.output()
    assert [event["event"] for event in leaving.events()][-1] == "stopped"
