"""The image's parts, as far as they can be tried without building it: what is copied, what is listed, and that a mistake in the result is found."""

import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from deploy.image.root import Root, is_elf, libraries
from deploy.image.sbom import archives_of, bill, of_debian
from tests.image import files
from tests.image.pip_settings import conf_of

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()

STATUS = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:3.0.22-1+b2\nDescription: x\n"


def write(path: Path, text: str = "x\n", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def listing(directory: Path) -> Iterator[str]:
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            yield f"{path.relative_to(directory)} -> {path.readlink()}"
        elif path.is_file():
            yield f"{path.relative_to(directory)} {path.stat().st_mode & 0o7777:o} {int(path.stat().st_mtime)}"


def test_a_directory_is_copied_with_what_its_links_lead_to_and_without_what_is_not_wanted(tmp_path: Path) -> None:
    source = tmp_path.resolve() / "source"
    write(source / "python3.11", mode=0o775)
    (source / "python3").symlink_to("python3.11")
    write(source / "library" / "kept.py", mode=0o666)
    write(source / "library" / "__pycache__" / "kept.pyc")
    write(source / "library" / "test" / "dropped.py")
    write(source / "library" / "kept" / "test" / "inner.py")
    root = Root(tmp_path / "root")

    root.copy(source / "python3")
    root.copy(source / "library", [source / "library" / "test"])
    root.settle(7)

    assert list(listing(root.within(source))) == [
        "library/kept/test/inner.py 644 7",
        "library/kept.py 644 7",
        "python3 -> python3.11",
        "python3.11 755 7",
    ]


def test_byte_code_is_used_as_it_is_and_tells_the_path_in_the_image(tmp_path: Path) -> None:
    source = write(tmp_path.resolve() / "source" / "module.py", "def where(): return where.__code__.co_filename\n")
    root = Root(tmp_path / "root")
    root.copy(source)

    root.compile(source.parent)
    (compiled,) = root.within(source.parent).glob("__pycache__/*.pyc")

    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01, "checked against nothing"
    assert str(source).encode() in compiled.read_bytes()
    assert str(root.directory).encode() not in compiled.read_bytes()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's files alone")
def test_the_libraries_of_python_are_found() -> None:
    python = Path(sys.executable).resolve()

    assert is_elf(python)
    assert not is_elf(Path(__file__))
    assert "libc.so.6" in {path.name for path in libraries(python)}


def test_each_package_is_listed_with_the_file_that_it_came_from(tmp_path: Path) -> None:
    for name, version in (("Our_Program", "1.0"), ("some.lib", "2.1")):
        about = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n"
        write(tmp_path / f"{name.replace('.', '_')}-{version}.dist-info" / "METADATA", about)

    made = bill("our-program", tmp_path, {"some-lib": "ab" * 32}, [of_debian(STATUS, "debian-12")])

    assert made["metadata"]["component"]["purl"] == "pkg:pypi/our-program@1.0"
    assert made["components"] == [
        {
            "type": "library",
            "bom-ref": "pkg:deb/debian/libssl3@1%3A3.0.22-1%2Bb2?arch=amd64&distro=debian-12",
            "name": "libssl3",
            "version": "1:3.0.22-1+b2",
            "purl": "pkg:deb/debian/libssl3@1%3A3.0.22-1%2Bb2?arch=amd64&distro=debian-12",
        },
        {
            "type": "library",
            "bom-ref": "pkg:pypi/some-lib@2.1",
            "name": "some-lib",
            "version": "2.1",
            "purl": "pkg:pypi/some-lib@2.1",
            "hashes": [{"alg": "SHA-256", "content": "ab" * 32}],
            "licenses": [{"expression": "MIT"}],
        },
    ]
    assert bill("our-program", tmp_path, {"some-lib": "ab" * 32}, [of_debian(STATUS, "debian-12")]) == made


def test_the_hash_of_a_file_is_found_as_old_and_new_versions_of_pip_tell_it(tmp_path: Path) -> None:
    def installed(name: str, archive: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {"name": name}, "download_info": {"archive_info": archive}}

    old = write(tmp_path / "old.json", json.dumps({"install": [installed("One_Lib", {"hash": "sha256=aa"})]}))
    new = write(tmp_path / "new.json", json.dumps({"install": [installed("other", {"hash": "sha256=bb", "hashes": {"sha256": "bb"}})]}))

    assert archives_of(old, new) == {"one-lib": "aa", "other": "bb"}


# What the nightly build looks for in the result: each mistake is put into a small image that has none.

PIN = f"some-lib==2.1 \\\n    --hash=sha256:{'ab' * 32} \\\n    --hash=sha256:{'cd' * 32}\n"


def small_image(root: Path) -> Path:
    packages = root / "opt/poller/lib/python3.11/site-packages"
    write(packages / "some_lib-2.1.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: some.lib\nVersion: 2.1\n")
    write(packages / "ours-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
    write(packages / "ours.py")
    write(packages / "__pycache__" / "ours.cpython-311.pyc")
    write(root / "var/lib/dpkg/status.d/libssl3", STATUS)
    listed = bill("ours", packages, {"some-lib": "ab" * 32}, [of_debian(STATUS, "debian-12")])
    write(root / files.BILL, json.dumps(listed))
    return root


def faults(root: Path) -> list[str]:
    found = [*files.faults_of_files(root), *files.faults_of_links(root), *files.faults_of_bill(root), *files.faults_of_pins(root, PIN)]
    return [fault for fault in found if "owned by" not in fault]  # by whoever runs the tests


def relisted(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    listed = json.loads((root / files.BILL).read_text())
    change(listed)
    (root / files.BILL).write_text(json.dumps(listed))


def test_a_small_image_has_no_fault(tmp_path: Path) -> None:
    assert faults(small_image(tmp_path)) == []


@pytest.mark.parametrize(
    ("mistake", "fault"),
    [
        (lambda root: write(root / "usr/bin/dash"), "usr/bin/dash: a shell, or a way to one"),
        (lambda root: write(root / "usr/bin/x", mode=0o4755), "usr/bin/x: setuid or setgid"),
        (lambda root: write(root / "etc/x", mode=0o666), "etc/x: others than its owner may write it"),
        (lambda root: write(root / "opt/x.py"), "opt/x.py: not compiled"),
        (lambda root: write(root / "opt/pip/x"), "opt/pip: installs packages"),
        (lambda root: (root / "usr" / "x").symlink_to("/nowhere"), "usr/x"),
        (lambda root: write(root / "var/lib/dpkg/status.d/x", STATUS.replace("libssl3", "x")), "not listed: x 1:3.0.22-1+b2"),
        (lambda root: (root / "var/lib/dpkg/status.d/libssl3").unlink(), "listed, and not installed: libssl3 1:3.0.22-1+b2"),
        (
            lambda root: relisted(root, lambda listed: listed["components"][1].update(hashes=[{"alg": "SHA-256", "content": "ef" * 32}])),
            "not as pinned: some-lib",
        ),
        (lambda root: relisted(root, lambda listed: listed["components"][1].pop("hashes")), "not as pinned: some-lib"),
    ],
)
def test_a_mistake_in_an_image_is_found(tmp_path: Path, mistake: Callable[[Path], object], fault: str) -> None:
    root = small_image(tmp_path)

    mistake(root)

    assert faults(root) == [fault]


def test_what_was_told_in_confidence_is_found(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", "index-url = https://user:word@host/")
    write(tmp_path / "c")

    assert files.faults_of_secrets(tmp_path, ["user:word"]) == ["a/b"]


def test_a_wrong_configuration_is_found() -> None:
    config: dict[str, Any] = {
        "User": "65532:65532",
        "Entrypoint": ["/opt/poller/bin/poller"],
        "Cmd": ["run"],
        "StopSignal": "SIGTERM",
        "Env": ["PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "POLLER_ADMIN_HOST=0.0.0.0", "POLLER_WEBHOOK_HOST=0.0.0.0"],
        "Labels": {
            f"org.opencontainers.image.{name}": "1" for name in ("title", "description", "version", "revision", "licenses", "base.name")
        },
    }

    assert files.faults_of_config(config, "1") == []
    assert files.faults_of_config({**config, "User": "0"}, "1") == ["User is '0', should be '65532:65532'"]
    assert files.faults_of_config({**config, "Env": config["Env"][1:]}, "1") == ["not in the environment: PYTHONUNBUFFERED=1"]
    assert files.faults_of_config(config, "2") == ["the version's label is not the package's version"]


def test_pip_is_told_inside_what_it_is_told_here_but_no_paths() -> None:
    listed = "global.cert='/etc/x.pem'\nglobal.index-url='https://a.example/simple'\n:env:.find-links='/wheels'\n:env:.index-url='https://b.example/simple'\n"

    assert conf_of(listed, True) == "[global]\nindex-url = https://b.example/simple\ncert = /run/secrets/ca_certificates\n"
    assert conf_of("", False) == "[global]\n"


def test_the_version_on_the_label_is_the_package_s() -> None:
    assert f"\nARG VERSION={distribution('voucherify-activity-poller').version}\n" in DOCKERFILE
