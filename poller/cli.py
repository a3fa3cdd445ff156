"""The commands, and what the process's exit says.

Each command is a function in a module of its own, which is imported only when it is called or asked for help: `poller --help` stays quick,
and `run` never loads what the demo needs. A new one is an entry of `COMMANDS`, and
`poller/commands/<name>.py` with a function of that name that returns the exit code; where it has parts, with one for each, `<name>_<part>`.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from poller.errors import NotOurs, PollerError, SettingsError

if TYPE_CHECKING:
    from cyclopts import App

OK = 0
FAILED = 1
UNUSABLE = 2
INTERRUPTED = 130
TERMINATED = 143
"""By SIGTERM, a command that does not end by itself upon it."""


class Command(NamedTuple):
    help: str
    more: str
    """Shown by the command's own `--help`: what else is to know, and an example."""
    parts: "Mapping[str, Command]" = MappingProxyType({})
    """Where it only stands before others, as in `poller watch add`."""


WATCHED: Mapping[str, Command] = {
    "add": Command(
        "Watch these customers, or watch them otherwise.",
        "What the options say is the whole entry: one that was there before is replaced. Without options the customer is watched like all others.\n\n"
        "Example: `poller watch add cust_… --start earliest --weight 5 --header tenant=acme`",
    ),
    "remove": Command(
        "Take these customers out of the watch topic.",
        "Their checkpoints stay: added again, they go on where they were.\n\nExample: `poller watch remove cust_…`",
    ),
    "list": Command(
        "Show whom the watch topic names, and how they are watched.",
        "Example: `poller watch list`, or `poller watch list --json | jq length`",
    ),
    "import": Command(
        "Add every customer that a file names: ids, one a line, or JSON lines; `-`: standard input.",
        "What is there already is not written again, and nobody is removed. Where one line is wrong nothing is written; each is named.\n\n"
        "Example: `poller watch import customers.jsonl --dry-run`, or `psql -c … | poller watch import -`",
    ),
    "export": Command(
        "Write the watch topic as JSON lines, which `poller watch import` takes.", "Example: `poller watch export > customers.jsonl`"
    ),
    "pause": Command(
        "Do not read these customers for now; what happens meanwhile is published when they are resumed.",
        "Their entries stay as they are otherwise.\n\nExample: `poller watch pause cust_…`",
    ),
    "resume": Command("Read these customers again.", "Example: `poller watch resume cust_…`"),
    "rewind": Command(
        "Publish again what was created from a date on.",
        "Each such record has the header `replay`, with the id that this command tells; what is new meanwhile is published as ever, once, without it. "
        "Where pollers do not run, it begins when they do. A customer that is rewound again while that goes on is rewound anew.\n\n"
        "Example: `poller watch rewind cust_… --to 2026-01-31`, or `poller watch rewind cust_… --to 2026-01-31T12:00:00+01:00 --missing-only`",
    ),
}


COMMANDS: Mapping[str, Command] = {
    "run": Command(
        "Read activities and publish them, until stopped.",
        "Settings are environment variables; all that is wrong with them is said at once, and nothing is started (exit code 2). "
        "SIGTERM and SIGINT stop it: what is in flight is finished first (exit code 0).\n\n"
        "Example: `docker run --env-file poller.env voucherify-activity-poller run`, or in a shell: `set -a; . ./poller.env; poller run`",
    ),
    "check": Command(
        "Try settings, credentials, permission, brokers, topics and checkpoints; with one API call.",
        "With OAuth a second call takes the token. Changes nothing; says what to do about each fault. Exit code 1 where something fails, 2 where the settings cannot be used.\n\n"
        "Example: `poller check`, or `poller check --json | jq '.[] | select(.ok | not)'`",
    ),
    "inspect": Command(
        "Show how one customer stands: partition, owner, checkpoint, recent ids, next call, last error.",
        "Changes nothing and makes no API call. What is committed comes from Kafka; when it is called next and what failed, from the poller that owns it, "
        "by its admin server. Only the settings of Kafka are needed.\n\n"
        "Example: `poller inspect cust_…`, or `kubectl exec deploy/voucherify-activity-poller -- poller inspect cust_… --json | jq .checkpoint.cursor`",
    ),
    "probe": Command(
        "Find out how the API is to be read: order, bounds, cursors, limits, shapes; with at most 15 API calls.",
        "Says beforehand what it will ask, and asks whether to go on. The report holds no personal data. "
        "Exit code 1 where the API could not be asked or stopped answering, 2 where the settings cannot be used.\n\n"
        "Example: `poller probe cust_…`, or `poller probe cust_… --yes --report probe.json`",
    ),
    "plan": Command(
        "Tell what freshness a budget buys, where its calls go, and what more of them would bring; before they are spent.",
        "Without options: for the settings' customers and budget, at the rates that a poller has learned of them where Kafka tells. Each option replaces what the "
        "settings say; with `--customers` no setting is needed, and nothing is asked. Makes no API call. "
        "Exit code 2 where staleness and budget contradict each other.\n\n"
        "Example: `poller plan --customers 1000 --calls-per-minute 100 --calls-per-cycle 100000`, or `poller plan --calls-per-minute 120 --plot plan.svg`",
    ),
    "watch": Command(
        "Say whom to watch while pollers run: add, remove, list, import, export, pause, resume, rewind.",
        "All of it goes through the watch topic, which any Kafka producer may write too. Only the settings of Kafka are needed.\n\n"
        "Example: `poller watch add cust_…`, `poller watch import customers.txt`, `poller watch list`",
        WATCHED,
    ),
    "reshard": Command(
        "Divide the work anew: move all checkpoints to a new topic with another number of partitions.",
        "Pollers that run on the old topic end, with exit code 2 and what to set; nobody can go on with it. Nothing is lost and nothing published twice, and however it was "
        "ended on the way, to do the same again is to go on. Run it with the pollers' own settings; only those of Kafka are needed.\n\n"
        "Example: `poller reshard --partitions 4 --dry-run`, then without `--dry-run`",
    ),
    "forget": Command(
        "Forget customers: stop reading them, and remove their checkpoints and watch entries at once.",
        "A running poller carries it out; without one it will when one runs, and to do the same again is to finish it. Says what remains, and for how long: what was published. "
        "One that is watched again later starts afresh. Only the settings of Kafka are needed; with the pollers' own it says where these still name a customer. "
        "Exit code 1 where it is not carried out yet.\n\n"
        "Example: `poller forget anna@example.com --dry-run`, then without `--dry-run`",
    ),
    "config": Command(
        "Show every setting: its variable, default, meaning and bounds.",
        "Examples: `poller config`, `poller config --json | jq -r '.[].variable'`, `poller config --write`",
    ),
    "tail": Command(
        "Show records as they are published: readable on a terminal, JSON lines when piped.",
        "Reads what is committed only, and belongs to no group. Brokers and topic are those of the settings; no other setting is needed.\n\n"
        "Example: `poller tail --from-beginning --max 10`, or `poller tail | jq -r '.key'`",
    ),
    "simulate": Command(
        "Serve a simulated Voucherify API, until interrupted.",
        "Example: `poller simulate --customers 20 --late-rate 0.3 --error-rate 0.05`, then `curl http://127.0.0.1:8081/simulator/customers`",
    ),
    "broker": Command(
        "Run a real Apache Kafka on this machine, until interrupted.",
        "It comes from package registries the first time. For trying things out: one broker, nothing replicated, no authentication.\n\n"
        "Example: `poller broker --port 9092`, then `POLLER_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 poller tail`",
    ),
    "demo": Command(
        "See it work: a real Kafka, a simulated API, two pollers, one of which is killed on the way.",
        "What stands in the topic is compared with what the API showed. Ctrl-C ends it, and the comparison follows; a second Ctrl-C ends it at once. "
        "Exit code 1 where anything is lost, published twice or changed, 130 where it was interrupted before it could compare.\n\n"
        "Example: `poller demo --seconds 30`, or `poller demo --seconds 30 --json | jq .comparison`",
    ),
}

HELP = """Publish Voucherify customer activities to Kafka, each exactly once.

Settings are environment variables; `poller config` lists them.
"""

EXIT_CODES = """Exit codes: 0: all is well. 1: it failed, or a check did. 2: the settings or the command line cannot be used; nothing was started, or what was has ended as the checkpoint topic is not, or no longer, its own. 130: interrupted. 143: ended by SIGTERM, where that is not how the command ends anyway."""


def make_app() -> "App":
    from cyclopts import App

    app = App(name="poller", help=HELP, help_format="markdown", help_epilogue=EXIT_CODES, version=_version)
    for name, command in COMMANDS.items():
        if command.parts:
            app.command(_app_of_parts(name, command))
        else:
            app.command(f"poller.commands.{name}:{name}", name=name, help=command.help, help_epilogue=command.more)
    return app


def _app_of_parts(name: str, command: Command) -> "App":
    from cyclopts import App

    app = App(name=name, help=command.help, help_format="markdown", help_epilogue=command.more)
    for part, its in command.parts.items():
        app.command(f"poller.commands.{name}:{name}_{part}", name=part, help=its.help, help_epilogue=its.more)
    return app


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("voucherify-activity-poller")
    except PackageNotFoundError:
        return "unknown (not installed)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    # Process 1 of a container ignores what it does not handle, and a start is long: nothing was begun yet, so nothing is to be finished.
    signal.signal(signal.SIGTERM, partial(_terminated, OK if given[:1] == ["run"] else TERMINATED))
    sys.exit(run_command(given))


def _terminated(code: int, _signal: int, _frame: FrameType | None) -> None:
    sys.exit(code)


def run_command(arguments: Sequence[str]) -> int:
    """The exit code of one command; what went wrong stands on standard error."""
    from cyclopts import CycloptsError

    # A command says in its own words what it would say; `run` sets levels of its own.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        code = make_app()(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return UNUSABLE  # cyclopts has said it
    except (SettingsError, NotOurs) as error:  # the settings name a topic that is not, or no longer, theirs
        return _complain(error, UNUSABLE)
    except (PollerError, OSError) as error:
        return _no_reader() if isinstance(error, BrokenPipeError) else _complain(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else OK


def _complain(error: Exception, code: int) -> int:
    from poller.terminal import printable_lines

    print(printable_lines(str(error)), file=sys.stderr)
    return code


def _no_reader() -> int:
    """Whoever read our output has enough (`poller tail | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK
