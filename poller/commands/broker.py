"""`poller broker`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from poller.commands.output import say
from poller.commands.until_stopped import run_until_stopped
from poller.demo.broker import serve


def broker(
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535), help="The port, on 127.0.0.1; 0: any free one.")] = 9092,
    data_dir: Annotated[Path | None, Parameter(help="Where its data is kept. Default: a directory that goes with it.")] = None,
) -> int:
    return run_until_stopped(serve, port, data_dir, _say_at_once)


def _say_at_once(line: str) -> None:
    say(line)
    sys.stdout.flush()
