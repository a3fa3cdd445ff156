"""Screenshots of the status page beside real pollers: `python -m tests.browser --write` keeps them in docs/screenshots."""

import argparse
import sys
import tempfile
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from poller.demo.broker import broker
from tests.browser.chromium import MISSING, PATH, Scheme, Tab, chromium
from tests.browser.pictures import smaller
from tests.browser.scene import pollers, url_of

FOLDER = Path(__file__).parents[2] / "docs/screenshots"
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
SIZES = ("desktop", "phone")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep them in docs/screenshots")
    parser.add_argument("--minutes", type=float, default=10, help="for how long the pollers run before")
    given = parser.parse_args()
    if PATH is None:
        print(MISSING, file=sys.stderr)
        return 1
    folder = FOLDER if given.write else Path(tempfile.mkdtemp(prefix="screenshots-"))
    folder.mkdir(exist_ok=True)
    anyio.run(live, given.minutes, folder)
    return 0


async def live(minutes: float, folder: Path) -> None:
    """Two pollers share three partitions."""
    with tempfile.TemporaryDirectory() as directory:
        async with (
            broker(log=print) as kafka,
            pollers(kafka.bootstrap_servers, Path(directory), 2, kafka_checkpoint_partitions=3, lookback_seconds=60) as replicas,
        ):
            print(f"{url_of(replicas[0])} and {url_of(replicas[1])} live for {minutes:g} minutes…")
            await anyio.sleep(60 * minutes)
            url = max(map(url_of, replicas), key=owned)
            await anyio.to_thread.run_sync(take, url, folder)


def owned(url: str) -> int:
    """Partitions."""
    return len(httpx.get(f"{url}status", trust_env=False).json()["overview"]["owned"])


def take(url: str, folder: Path) -> None:
    with chromium() as browser:
        for scheme in SCHEMES:
            for size in SIZES:
                tab = Tab(browser, url, scheme, size, still=True)
                tab.open()
                picture = smaller(browser, tab.page.screenshot(full_page=True))
                tab.close()
                path = folder / f"status-{scheme}-{size}.png"
                path.write_bytes(picture)
                print(f"{path}: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
