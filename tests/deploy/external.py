"""What the programs of others find, line by line. Each takes the path of its program, and texts or files."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

KUBERNETES_VERSIONS = ("1.27.0", "1.37.0")
"""The oldest that knows every field that is used, and the newest that is known here."""

IGNORED_SCORES = (
    "container-image-pull-policy",  # `Always` asks for every start what a pinned version has answered for good
)
SECONDS_MAX = 120


def run(command: Sequence[str], text: str | None = None) -> tuple[int, str, str]:
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
    return ran.returncode, ran.stdout, ran.stderr


def build(kustomize: str, folder: Path) -> str:
    """What kustomize makes of a folder. Raises `ValueError` with what it says."""
    code, built, said = run([kustomize, "build", str(folder)])
    if code:
        raise ValueError(said.strip())
    return built


def schema_faults(kubernetes_validate: str, file: Path, versions: Sequence[str] = KUBERNETES_VERSIONS) -> list[str]:
    """What the API of these versions would refuse; a field that it does not know, too. Kinds of others it knows nothing of."""
    return [line for version in versions for line in _refused(kubernetes_validate, file, version)]


def _refused(kubernetes_validate: str, file: Path, version: str) -> list[str]:
    code, said, error = run([kubernetes_validate, "--strict", "--kubernetes-version", version, str(file)])
    refused = [f"{version}: {line}" for line in (said + error).splitlines() if line.startswith("ERROR")]
    return refused or ([f"{version}: {(said + error).strip()}"] if code else [])


def without_schema(kubernetes_validate: str, file: Path) -> list[str]:
    """The kinds that it knows nothing of."""
    _, said, error = run([kubernetes_validate, "--strict", str(file)])
    return sorted(set(re.findall(r"Couldn't find schema for kind (\w+)", said + error)))


def scores(kube_score: str, text: str) -> list[str]:
    """What kube-score calls critical. What it only warns of is a matter of taste (anti-affinity beside the spread) or of the dev overlay."""
    ignored = [part for name in IGNORED_SCORES for part in ("--ignore-test", name)]
    code, said, error = run([kube_score, "score", "--output-format", "ci", *ignored, "-"], text)
    critical = [line for line in said.splitlines() if line.startswith("[CRITICAL]")]
    return critical or ([(said + error).strip()] if code else [])


def rule_faults(promtool: str, rules: Path) -> list[str]:
    return _complaints([promtool, "check", "rules", str(rules)])


def rule_test_faults(promtool: str, tests: Path) -> list[str]:
    return _complaints([promtool, "test", "rules", str(tests)])


def dockerfile_faults(hadolint: str, dockerfile: Path) -> list[str]:
    return _complaints([hadolint, "--no-color", str(dockerfile)])


def _complaints(command: Sequence[str]) -> list[str]:
    code, said, error = run(command)
    return [line for line in (said + error).splitlines() if line.strip()] if code else []
