"""`poller demo`."""

import random
import sys
from typing import Annotated

import anyio
import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from poller.commands.output import say, say_json, say_table, to_terminal
from poller.demo.demo import Plan
from poller.demo.demo import demo as run_demo
from poller.demo.view import PlainScreen, Result, TerminalScreen, result_rows

INTERRUPTED = 130


def demo(
    *,
    seconds: Annotated[
        float | None, Parameter(validator=Number(gt=0), help="Stop after so many seconds. Default: when it is interrupted.")
    ] = None,
    kill: Annotated[bool, Parameter(help="Kill the active poller on the way (not in less than 15 seconds), and start it again.")] = True,
    customers: Annotated[int, Parameter(validator=Number(gte=1, lte=200), help="How many customers there are.")] = 25,
    seed: Annotated[int | None, Parameter(help="Of all that is random about the API. Default: another one each time.")] = None,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="The result as JSON; all else on standard error.")] = False,
) -> int:
    with PlainScreen(sys.stderr) if json else TerminalScreen() if to_terminal() else PlainScreen(sys.stdout) as screen:
        result = anyio.run(run_demo, Plan(seconds, kill, customers, random.getrandbits(32) if seed is None else seed), screen)
    if result is None:
        return INTERRUPTED
    if json:
        say_json({**msgspec.to_builtins(result), "faults": result.faults})
    else:
        say_result(result)
    return 1 if result.faults else 0


def say_result(result: Result) -> None:
    say()
    say_table(("what", "figure", "meaning"), result_rows(result))
    say()
    if result.faults:
        say("Not as it should be:")
        for fault in result.faults:
            say(f"  {fault}")
    else:
        say("Nothing lost, nothing twice, every value byte for byte as the API sent it.")
