"""A real Chromium, driven by Playwright; which browser is the machine's own (Debian: `apt-get install chromium`)."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Route, sync_playwright

PATH = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
MISSING = "no Chromium here: apt-get install chromium"

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-lcd-text",
    "--force-color-profile=srgb",
]

Scheme = Literal["light", "dark"]
SIZES: Mapping[str, tuple[int, int]] = {"desktop": (1280, 900), "phone": (390, 844), "narrow": (320, 568)}

WAIT_MS = 15_000
POLL_MS = 50


@contextmanager
def chromium() -> Iterator[Browser]:
    assert PATH is not None, MISSING
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One page of its own session, and all that it complains of."""

    def __init__(self, browser: Browser, url: str, scheme: Scheme = "light", size: str = "desktop", *, still: bool = False) -> None:
        width, height = SIZES[size]
        self.url = url
        self.complaints: list[str] = []
        """Of the console: errors, and what the policy forbids."""
        self.requests: list[str] = []
        self.context: BrowserContext = browser.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": height},
            reduced_motion="reduce" if still else "no-preference",
            locale="en-GB",
            timezone_id="Europe/Berlin",
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)

    def open(self) -> Page:
        """Until it has shown something."""
        self.page.goto(self.url, wait_until="commit")
        self.until("typeof listen !== 'undefined' && status !== null && drawn !== null")
        return self.page

    def open_told(self, status: bytes) -> Page:
        """Of a process that says this, and nothing more."""

        def tell(route: Route) -> None:
            route.fulfill(body=b"retry: 60000\n\nevent: status\ndata: " + status + b"\n\n", content_type="text/event-stream")

        self.page.route("**/events", tell)
        self.page.route("**/status", lambda route: None)
        page = self.open()
        self.until("tries > 0")
        page.evaluate("clearTimeout(again)")
        return page

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def says(self, selector: str, text: str) -> None:
        """Until it does."""
        self.until("([where, what]) => document.querySelector(where).innerText.includes(what)", [selector, text])

    def until(self, condition: str, argument: object = None) -> None:
        """Until it is true in the page. Asked again and again from here: the page's policy allows no evaluation inside of it."""
        for _ in range(WAIT_MS // POLL_MS):
            if self.page.evaluate(condition, argument):
                return
            self.page.wait_for_timeout(POLL_MS)
        raise AssertionError(f"not within {WAIT_MS / 1000} s: {condition} {argument}")

    def accessibility_faults(self) -> list[str]:
        """What axe finds, by rule and place."""
        if not self.page.evaluate("typeof axe !== 'undefined'"):
            self.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
        found: dict[str, Any] = self.page.evaluate("axe.run({resultTypes: ['violations']})")
        assert len(found["passes"]) > 10, "axe has looked at nothing"
        return [f"{one['id']}: {node['target']}: {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]

    def close(self) -> None:
        self.page.unroute_all(behavior="ignoreErrors")
        self.context.close()
