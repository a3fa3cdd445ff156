"""`python -m tests.image`: build the image twice, look into it, run it, and say what was found; with `--write` the figures go into docs/image.md.

Needs root on a Debian with mmdebstrap, buildah, podman and runc.
"""

import argparse
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.image import files
from tests.image.engine import BASE, ROOT, Engine, Unpacked, engine
from tests.image.life import lives
from tests.image.pip_settings import pip_conf

IMAGE = "localhost/voucherify-activity-poller:nightly"
AGAIN = "localhost/voucherify-activity-poller:again"
DOCUMENT = ROOT / "docs" / "image.md"
BEGIN, END = "<!-- python -m tests.image: begin -->", "<!-- python -m tests.image: end -->"


def main(base: str, write: bool) -> None:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    with engine() as made:
        if base == BASE:
            made.make_base()
            say("base made with mmdebstrap")
        build_seconds = build(made, base)
        say(f"image built in {build_seconds:.0f} s, and alike when built again")
        unpacked = made.unpack(IMAGE)
        faults = look(unpacked)
        assert not faults, "\n".join(faults)
        say("files, configuration and bill of materials are as they should be")
        sizes = {"unpacked": files.unpacked_bytes(unpacked.root), "pushed": unpacked.archive.stat().st_size}
        seconds = lives(made, IMAGE, say)
    text = summary(sizes, {"build_seconds": build_seconds, **seconds})
    print(text)
    if write:
        put(text)


def build(made: Engine, base: str) -> float:
    """Twice; the seconds of the first."""
    began = time.monotonic()
    made.build(IMAGE, base=base)
    seconds = time.monotonic() - began
    made.build(AGAIN, base=base)
    digests = made.digest(IMAGE), made.digest(AGAIN)
    assert digests[0] == digests[1], f"the same inputs made two images: {digests}"
    return seconds


def look(unpacked: Unpacked) -> list[str]:
    root = unpacked.root
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return [
        *files.faults_of_files(root),
        *(f"leads nowhere: {link}" for link in files.faults_of_links(root)),
        *files.faults_of_bill(root),
        *files.faults_of_pins(root, (ROOT / "requirements" / "run.txt").read_text()),
        *files.faults_of_config(unpacked.config, version),
        *(f"holds a setting of pip: {path}" for path in files.faults_of_secrets(root, told_in_confidence())),
    ]


def told_in_confidence() -> list[str]:
    """Where pip looks, which no image should tell."""
    values = [line.partition(" = ")[2] for line in pip_conf().splitlines() if "index-url" in line]
    return [part for value in values for part in (value, urlsplit(value).hostname or value)]


def summary(sizes: Mapping[str, int], seconds: Mapping[str, float]) -> str:
    return "\n".join(
        (
            "| what | measured |",
            "|---|---|",
            f"| pushed (gzip) | {sizes['pushed'] / 1e6:.0f} MB |",
            f"| unpacked | {sizes['unpacked'] / 1e6:.0f} MB |",
            f"| built, with all downloads, in | {seconds['build_seconds']:.0f} s |",
            f"| from start to ready, with the topics to be made | {seconds['ready_seconds']:.1f} s |",
            f"| from SIGTERM to exit code 0, while it reads | {seconds['drain_seconds']:.1f} s |",
        )
    )


def put(text: str) -> None:
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    Path(DOCUMENT).write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.image", description="Build the image, look into it, run it.")
    parser.add_argument("--base", default=BASE, help="another base image; by default one is made with mmdebstrap")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/image.md")
    given = parser.parse_args()
    try:
        main(given.base, given.write)
    except AssertionError as error:
        sys.exit(f"failed: {error}")
