"""`poller run`."""

import os
import sys

from poller.config import load
from poller.errors import SettingsError


def run() -> int:
    settings = load(os.environ)
    if sys.flags.optimize:
        # Under -O some errors of the Kafka client, which are asserts, would pass unseen.
        raise SettingsError(["PYTHONOPTIMIZE (or python -O) is set: run without it"])
    import anyio

    from poller.app import run as run_app

    return anyio.run(run_app, settings, backend="asyncio", backend_options={"use_uvloop": sys.platform != "win32"})
