"""The bill of materials, as CycloneDX: the Python packages, the Debian packages that a file was taken of, and Python where it is none of these."""

import json
import re
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

Component = Mapping[str, Any]


def bill(application: str, site_packages: Path, archives: Mapping[str, str], others: Iterable[Component]) -> dict[str, Any]:
    """`archives`: by name, the SHA-256 of the file that a Python package was installed from. Alike for what is alike: it bears no time."""
    python = [of_distribution(one, archives) for one in distributions(path=[str(site_packages)])]
    (subject,) = (component for component in python if component["name"] == application)
    components = sorted((one for one in (*python, *others) if one is not subject), key=lambda one: one["bom-ref"])
    listed = json.dumps([subject, *components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, listed)}",
        "version": 1,
        "metadata": {"component": {**subject, "type": "application"}},
        "components": components,
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }


def of_distribution(distribution: Distribution, archives: Mapping[str, str]) -> Component:
    name = normalized(distribution.metadata["Name"])
    described = component(name, distribution.version, f"pkg:pypi/{name}@{distribution.version}")
    digest = {"hashes": [{"alg": "SHA-256", "content": archives[name]}]} if name in archives else {}
    return {**described, **digest, **license_of(distribution)}


def license_of(distribution: Distribution) -> dict[str, Any]:
    """As its authors give it; nothing where they give its whole text, or none."""
    given = distribution.metadata.json
    if expression := given.get("license_expression"):
        return {"licenses": [{"expression": expression}]}
    text = given.get("license") or ""
    return {"licenses": [{"license": {"name": text}}]} if 0 < len(text) < 100 else {}


def component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def normalized(name: str) -> str:
    """As package indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def archives_of(*reports: Path) -> dict[str, str]:
    """What `pip install --report` says that it installed: SHA-256 by name."""
    installed = [one for report in reports for one in json.loads(report.read_text())["install"]]
    return {normalized(one["metadata"]["name"]): _sha256(one["download_info"]["archive_info"]) for one in installed}


def _sha256(archive: Mapping[str, Any]) -> str:
    """Before pip 23.1 there was one hash only."""
    return str(archive["hashes"]["sha256"] if "hashes" in archive else archive["hash"].removeprefix("sha256="))


def debian_packages(paths: Iterable[Path]) -> dict[str, str]:
    """Which packages these files are of: each one's paragraph of dpkg's status, by name. A file that is of none does not count."""
    named = sorted({name for path in paths for name in _names(path)})
    search = ["dpkg-query", "--search", "--", *named]
    found = subprocess.run(search, capture_output=True, text=True, check=False).stdout  # noqa: S603 - a fixed command
    packages = sorted({line.partition(": ")[0].split(":")[0] for line in found.splitlines() if not line.startswith("diversion ")})
    return {package: _status(package) for package in packages}


def _names(path: Path) -> Iterable[str]:
    """Also as dpkg may know it, by its name from before /lib became a link."""
    return (str(path), str(path).removeprefix("/usr")) if path.is_relative_to("/usr/lib") else (str(path),)


def _status(package: str) -> str:
    return subprocess.run(["dpkg-query", "--status", package], capture_output=True, text=True, check=True).stdout  # noqa: S603, S607 - a fixed command


def of_debian(status: str, distribution: str) -> Component:
    name, version, architecture = (re.search(rf"^{field}: (.+)$", status, re.MULTILINE) for field in ("Package", "Version", "Architecture"))
    assert name is not None, status
    assert version is not None, status
    assert architecture is not None, status
    purl = f"pkg:deb/debian/{name[1]}@{version[1].replace('+', '%2B').replace(':', '%3A')}?arch={architecture[1]}&distro={distribution}"
    return component(name[1], version[1], purl)
