"""What builds and runs the image: Debian's mmdebstrap, buildah and podman, with storage of their own that goes with the block."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.image.pip_settings import AUTHORITIES, pip_conf

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
TOOLS = ("mmdebstrap", "buildah", "podman", "runc")

SUITE = "bookworm"
BASE = f"localhost/python-base:{SUITE}"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates", "netbase", "tzdata")
"""What an image of Python holds beside Debian's essentials, as far as it matters here."""

SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
BUILD_SECONDS_MAX = 1800
STOP_SECONDS = 30

RESTRICTED = (
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges"),
    # As root without all capabilities, higher limits than our own cannot be had.
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
)
"""As under the manifests: nothing can be written, nothing gained."""


class Unpacked(msgspec.Struct, frozen=True):
    """An image, as files."""

    root: Path
    config: Mapping[str, object]
    """`config` of the OCI image."""
    archive: Path
    """The image as it is pushed: layers compressed with gzip."""


class Engine:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._storage = ("--root", str(directory / "storage"), "--runroot", str(directory / "running"), "--storage-driver", "vfs")
        self._podman = ("podman", *self._storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs")

    def make_base(self) -> None:
        """A Debian with Python, in place of an image that a registry would have."""
        archive = self.directory / "base.tar"
        sources = [str(path) for path in SOURCES if path.exists() and SUITE in path.read_text()]
        included = f"--include={','.join(BASE_PACKAGES)}"
        call("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", included, SUITE, str(archive), *sources)
        call(*self._podman, "import", "--quiet", str(archive), BASE)
        archive.unlink()

    def build(self, image: str, *, base: str = BASE) -> None:
        """As the Dockerfile says, from nothing. pip's settings and authorities come in as secrets."""
        conf = self.directory / "pip.conf"
        conf.touch(mode=0o600)
        conf.write_text(pip_conf())
        secrets = [f"id=pip_conf,src={conf}", *([f"id=ca_certificates,src={AUTHORITIES}"] if AUTHORITIES.exists() else [])]
        call(
            *("buildah", *self._storage, "build", "--quiet", "--isolation", "chroot", "--no-cache", "--timestamp", "0"),
            *(argument for secret in secrets for argument in ("--secret", secret)),
            *("--build-arg", f"BASE={base}", "--file", str(DOCKERFILE), "--ignorefile", f"{DOCKERFILE}.dockerignore"),
            *("--tag", image, str(ROOT)),
        )

    def digest(self, image: str) -> str:
        return call(*self._podman, "image", "inspect", "--format", "{{.Digest}}", image).strip()

    def unpack(self, image: str) -> Unpacked:
        archive = self.directory / "image.tar"
        call(*self._podman, "push", "--quiet", "--compression-format", "gzip", image, f"oci-archive:{archive}")
        mounted = call(*self._podman, "image", "mount", image).split()[-1]
        config = msgspec.json.decode(call(*self._podman, "image", "inspect", "--format", "{{json .Config}}", image))
        return Unpacked(Path(mounted), config, archive)

    @contextmanager
    def container(
        self, image: str, *arguments: str, options: Sequence[str] = (), settings: Mapping[str, str] | None = None
    ) -> Iterator["Container"]:
        """One that runs until the block ends, if it does not end before. Its own admin server is on the loopback, as it shares the network."""
        name = f"poller-{time.monotonic_ns()}"
        environment = [option for variable, value in (settings or {}).items() for option in ("--env", f"{variable}={value}")]
        network = () if "--network" in options else ("--network", "host", "--env", "POLLER_ADMIN_HOST=127.0.0.1")
        command = [*self._podman, "run", "--name", name, *network, *(options or RESTRICTED), *environment, image, *arguments]
        log_path = self.directory / f"{name}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        running = Container(self._podman, name, process, log_path)
        try:
            yield running
        finally:
            if running.exit_code is None:
                running.signal("KILL")
            process.wait()
            call(*self._podman, "rm", "--force", name)

    def run(self, image: str, *arguments: str, options: Sequence[str] = (), settings: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Until it ends by itself: its exit code, and what it said."""
        with self.container(image, *arguments, options=options, settings=settings) as container:
            return container.ended(120), container.output()


class Container:
    def __init__(self, podman: Sequence[str], name: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self._podman = podman
        self.name = name
        self._process = process
        self._log_path = log_path

    def __repr__(self) -> str:
        """With the end of what it said, as this is what a failed wait shows."""
        return f"<Container {self.name}, exit code {self.exit_code}>\n{self.output()[-4000:]}"

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def output(self) -> str:
        return self._log_path.read_text(errors="replace")

    def signal(self, name: str) -> None:
        call(*self._podman, "kill", "--signal", name, self.name)

    def ended(self, within_seconds: float) -> int:
        return self._process.wait(within_seconds)

    def execute(self, *command: str) -> str:
        return call(*self._podman, "exec", self.name, *command)

    def changed(self) -> list[str]:
        """The files that are not as in the image."""
        return call(*self._podman, "diff", self.name).splitlines()


@contextmanager
def engine() -> Iterator[Engine]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"not installed: {', '.join(missing)}"
    directory = Path(tempfile.mkdtemp(prefix="poller-image-"))
    try:
        yield (made := Engine(directory))
    finally:
        call(*made._podman, "rm", "--all", "--force")
        call(*made._podman, "image", "unmount", "--all", "--force")
        shutil.rmtree(directory)


def call(*command: str) -> str:
    """What it says on standard output. Raises with what it says otherwise."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS_MAX, cwd=ROOT)
    assert ran.returncode == 0, f"{' '.join(command)}: exit code {ran.returncode}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout
