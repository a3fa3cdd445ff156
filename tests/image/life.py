"""The image at work: the simulated API, `check`, two pollers and `tail`, all from it, around a Kafka from Python packages; until SIGTERM ends them."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import httpx
import yaml

from poller.demo.broker import broker, free_port
from tests.image.engine import ROOT, Container, Engine
from tests.support.waiting import until

COMPOSE = ROOT / "deploy" / "compose.yaml"
RECORDS = 10
START_SECONDS_MAX = 60.0
RECORDS_SECONDS_MAX = 90.0
DRAIN_SECONDS_MAX = 30.0
MOUNTED = ("/etc", "/dev", "/proc", "/sys", "/run")
"""What the engine itself puts into a container."""

PYTHON = "/opt/poller/bin/python"
INSIDE = """
import json, os, ssl, zoneinfo
def refused(path):
    try: open(path, "w")
    except OSError as error: return error.strerror
shells = [path for path in ("/bin/sh", "/bin/bash", "/usr/bin/env", "/bin/busybox") if os.path.exists(path)]
print(json.dumps({
    "user": f"{os.getuid()}:{os.getgid()}",
    "shells": shells,
    "authorities": len(ssl.create_default_context().get_ca_certs()) > 100,
    "zones": len(zoneinfo.available_timezones()) > 400,
    "write": [refused("/x"), refused("/opt/poller/x"), refused("/etc/passwd")],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
}))
"""

EVERY_MODULE = """
import importlib, pkgutil, poller
for module in pkgutil.walk_packages(poller.__path__, "poller."):
    if not module.name.endswith("__main__"): importlib.import_module(module.name)
"""

Say = Callable[[str], None]


def inside(engine: Engine, image: str) -> None:
    """What a process of it can do."""
    for options, refusal in ((_python(), "Permission denied"), (_python("--read-only"), "Read-only file system")):
        code, said = engine.run(image, "-c", INSIDE, options=options)
        assert code == 0, said
        assert json.loads(said) == {
            "user": "65532:65532",
            "shells": [],
            "authorities": True,
            "zones": True,
            "write": [refusal] * 3,
            "capabilities": ["0" * 16],
        }


def _python(*options: str) -> tuple[str, ...]:
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--cap-drop", "all")
    return ("--network", "none", "--entrypoint", PYTHON, *limits, *options)


def alone(engine: Engine, image: str) -> None:
    """Nothing that a module imports was left out; without settings `run` says what it needs; `config` needs none."""
    code, said = engine.run(image, "-c", EVERY_MODULE, options=_python())
    assert code == 0, said
    code, said = engine.run(image, "run")
    assert (code, "POLLER_KAFKA_BOOTSTRAP_SERVERS is required" in said) == (2, True), said
    code, said = engine.run(image, "config", "--json")
    assert (code, {one["variable"] for one in json.loads(said)} >= {"POLLER_ADMIN_PORT"}) == (0, True), said


async def work(engine: Engine, image: str, say: Say) -> dict[str, float]:
    """As composed, but on free ports of this machine's loopback. Seconds: until the first poller is ready, and from SIGTERM to its end."""
    composed = yaml.safe_load(COMPOSE.read_text())["services"]
    async with broker(log=say) as kafka:
        port = free_port()
        with engine.container(image, "simulate", "--port", str(port)) as simulator:
            await until(lambda: "POLLER_CUSTOMERS=" in simulator.output() or simulator.exit_code is not None, START_SECONDS_MAX)
            simulator.execute(*_health_check(composed["simulator"], port))
            settings = {
                **composed["poller-1"]["environment"],
                "POLLER_VOUCHERIFY_URL": f"http://127.0.0.1:{port}",
                "POLLER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            }
            code, said = engine.run(image, "check", settings=settings)
            assert code == 0, said
            say("`check` is content")
            return await _two(engine, image, settings, say)


def _health_check(service: Mapping[str, Any], port: int) -> list[str]:
    """Asked at this port."""
    return [part.replace(":8080/", f":{port}/").replace(":8081/", f":{port}/") for part in service["healthcheck"]["test"][1:]]


async def _two(engine: Engine, image: str, settings: Mapping[str, str], say: Say) -> dict[str, float]:
    ports = free_port(), free_port()
    began = time.monotonic()
    with engine.container(image, "run", settings={**settings, "POLLER_ADMIN_PORT": str(ports[0])}) as first:
        await _ready(first, ports[0])
        ready_seconds = time.monotonic() - began
        # Not read-only, so that it shows whether anything would be written.
        writable = ("--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
        on_loopback = {**settings, "POLLER_ADMIN_HOST": "127.0.0.1", "POLLER_ADMIN_PORT": str(ports[1])}
        with engine.container(image, "run", options=writable, settings=on_loopback) as second:
            await _ready(second, ports[1])
            second.execute(*_health_check(yaml.safe_load(COMPOSE.read_text())["services"]["poller-2"], ports[1]))
            say("two pollers are ready")
            _tail(engine, image, settings)
            say(f"{RECORDS} records were published")
            drain_seconds = await _drained(first)
            await _ready(second, ports[1])
            await _drained(second)
            assert [line for line in second.changed() if not line.split()[1].startswith(MOUNTED)] == [], "it wrote files"
    say(f"SIGTERM: exit code 0 after {drain_seconds:.1f} s")
    return {"ready_seconds": ready_seconds, "drain_seconds": drain_seconds}


async def _ready(poller: Container, port: int) -> None:
    async def says_both() -> bool:
        assert poller.exit_code is None, poller
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            try:
                answers = [await client.get(f"http://127.0.0.1:{port}/{path}") for path in ("livez", "readyz")]
            except httpx.TransportError:
                return False
        return [answer.status_code for answer in answers] == [200, 200]

    await until(says_both, START_SECONDS_MAX)


def _tail(engine: Engine, image: str, settings: Mapping[str, str]) -> None:
    with engine.container(image, "tail", "--from-beginning", "--max", str(RECORDS), settings=settings) as tail:
        code = tail.ended(RECORDS_SECONDS_MAX)
        records = [json.loads(line) for line in tail.output().splitlines()]
    assert (code, len(records)) == (0, RECORDS), records


async def _drained(poller: Container) -> float:
    began = time.monotonic()
    poller.signal("TERM")
    await until(lambda: poller.exit_code is not None, DRAIN_SECONDS_MAX)
    events = [json.loads(line)["event"] for line in poller.output().splitlines() if line.startswith("{")]
    assert (poller.exit_code, events[-1], "Traceback" in poller.output()) == (0, "stopped", False), poller
    return time.monotonic() - began


async def by_itself(engine: Engine, image: str) -> None:
    """With the image's own settings, in a network of its own: the admin server is on all interfaces, and SIGTERM ends process 1 where no broker answers."""
    settings = {
        "POLLER_VOUCHERIFY_APP_ID": "a",
        "POLLER_VOUCHERIFY_APP_TOKEN": "b",
        "POLLER_CUSTOMERS": "cust_1",
        "POLLER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    }
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    with engine.container(image, "run", options=("--network", "none", "--read-only", *limits), settings=settings) as poller:
        await until(lambda: "starting" in poller.output() or poller.exit_code is not None, START_SECONDS_MAX)
        await until(lambda: _listening(poller), START_SECONDS_MAX)
        assert poller.exit_code is None, poller
        await _drained(poller)


def _listening(poller: Container) -> bool:
    """On 0.0.0.0:8080, as the kernel writes it."""
    return "00000000:1F90" in poller.execute(PYTHON, "-c", "print(open('/proc/net/tcp').read())")


def lives(engine: Engine, image: str, say: Say) -> dict[str, float]:
    inside(engine, image)
    say("inside: uid 65532, no shell, nothing to write to, authorities and time zones at hand")
    alone(engine, image)
    anyio.run(by_itself, engine, image)
    say("by itself: on all interfaces, ended by SIGTERM without a broker")
    return anyio.run(work, engine, image, say)
