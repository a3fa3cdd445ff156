"""The image's root file system, as it grows: copies of files of this one, each at its own path, and what they need to be loaded."""

import compileall
import os
import py_compile
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

LINKS = ("bin", "lib", "lib64")
"""At the top of a Debian, links into /usr: library paths go by them."""


class Root:
    def __init__(self, directory: Path) -> None:
        """`directory` must not exist, so that nothing old gets in."""
        directory.mkdir(parents=True)
        self.directory = directory
        self.copied: set[Path] = set()
        """By their paths in the image, which are those here: files and links."""
        for name in LINKS:
            if (path := Path("/", name)).is_symlink():
                (directory / name).symlink_to(path.readlink())

    def within(self, path: Path) -> Path:
        """Where this path of the image is while it is put together."""
        return self.directory / path.relative_to("/")

    def copy(self, path: Path, without: Iterable[Path] = ()) -> None:
        """A file, a link with what it points to, or all of a directory but what matches a pattern of `without` from the right."""
        path = path.parent.resolve() / path.name
        if path in self.copied or path.name == "__pycache__" or any(path.match(str(pattern)) for pattern in without):
            return
        if path.is_symlink():
            self._link(path, without)
        elif path.is_dir():
            for each in sorted(path.iterdir()):
                self.copy(each, without)
        else:
            self._place(path)
            shutil.copyfile(path, self.within(path))
            self.within(path).chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

    def _link(self, path: Path, without: Iterable[Path]) -> None:
        self._place(path)
        self.within(path).symlink_to(path.readlink())
        self.copy(path.parent / path.readlink(), without)

    def write(self, path: Path, text: str) -> None:
        self.within(path).parent.mkdir(parents=True, exist_ok=True)
        self.within(path).write_text(text)
        self.within(path).chmod(0o644)

    def _place(self, path: Path) -> None:
        self.copied.add(path)
        self.within(path).parent.mkdir(parents=True, exist_ok=True)

    def copy_libraries(self) -> None:
        """What the dynamic loader will look for, for all that was copied so far; and the loader's cache, as not all of it is where it looks by itself."""
        for library in sorted({library for path in sorted(self.copied) if is_elf(path) for library in libraries(path)}):
            self.copy(library)
        self.copy(Path("/etc/ld.so.conf"))
        self.copy(Path("/etc/ld.so.conf.d"))
        subprocess.run(["/sbin/ldconfig", "-r", self.directory, "-X"], check=True)  # noqa: S603 - a fixed command
        shutil.rmtree(self.directory / "var", ignore_errors=True)  # ldconfig's own cache

    def compile(self, *paths: Path) -> None:
        """Byte code that is used as it is, whatever the files' times: nothing can be written at run time."""
        for path in paths:
            compileall.compile_dir(
                self.within(path),
                stripdir=str(self.directory),
                prependdir="/",
                quiet=2,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )

    def settle(self, epoch: int) -> None:
        """The same permissions and times whoever builds it, and whenever."""
        for path in (self.directory, *self.directory.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def is_elf(path: Path) -> bool:
    if path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries(path: Path) -> Iterator[Path]:
    """Of one executable or shared object, those of others included. Raises `RuntimeError` where one is missing."""
    ran = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)  # noqa: S603, S607 - a fixed command
    for line in ran.stdout.splitlines():
        name, _, found = line.strip().partition(" => ")
        if found.startswith("not found"):
            raise RuntimeError(f"{path} needs {name}, which is not here")
        file = (found or name).split(" (")[0]
        if file.startswith("/"):
            yield Path(file)
