"""What every suite may ask for: virtual time, and one real Kafka for all who need it."""

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import anyio.from_thread
import pytest

from poller.demo.broker import broker
from tests.support.suites import Suites
from tests.support.virtual_time import seeded_scheduler, virtual_backend


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("POLLER_")]:
        del os.environ[name]  # the settings of whoever runs the tests are not the tests'
    config.addinivalue_line("markers", "no_cover: coverage is not counted (pytest-cov's own; named here for runs without it).")
    config.pluginmanager.register(Suites(), "suites")


@pytest.fixture
def virtual_time() -> Iterator[tuple[str, dict[str, Any]]]:
    """A backend for anyio, with time that passes only when nobody can go on. A test that asks for it runs in it."""
    with seeded_scheduler(0):
        yield virtual_backend()


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Where tests marked `anyio` run: asyncio, as in production, unless the test asks for `virtual_time`."""
    return request.getfixturevalue("virtual_time") if "virtual_time" in request.fixturenames else "asyncio"


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """Bootstrap servers of one Kafka for the whole session, started when first asked for. Topics are the tests' own: name them apart."""
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{line}\n")
            sys.stdout.flush()

    # In a loop of its own: it outlives every test's loop, and no stalled test stalls it.
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(broker(log=say)) as running:
        yield running.bootstrap_servers


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """For tests that set up logging: it is the process's."""
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
