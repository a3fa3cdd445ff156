"""`python -m tests.deploy [--write]`: everything that checks what is deployed; exit 1 where something is found, and only then.

What cannot be checked here, since its program is missing, is said. `--write` first makes anew what is generated.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tests.deploy import builds, examples, external, rules, settings, tools
from tests.deploy.checks import findings
from tests.deploy.manifests import DEPLOY, KUSTOMIZE, ROOT, parse

DOCKERFILE = DEPLOY / "Dockerfile"
RULE_TESTS = ROOT / "config/alerts.test.yaml"


class Outcome(msgspec.Struct, frozen=True):
    """What one check came to."""

    found: list[str] = []
    note: str = ""


Built = dict[str, str]
"""What kustomize made of each variant."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make anew what is generated")
    write = parser.parse_args(arguments).write
    if write and rules.ALERTS.exists():
        rules.write()
    built: Built = {}
    failed = [not shown(name, check) for name, check in all_checks(built, write=write)]
    return int(any(failed))


def all_checks(built: Built, *, write: bool) -> Iterator[tuple[str, Callable[[], Outcome]]]:
    """In the order in which they are made: the first one builds what others look at."""
    yield "kustomize build", lambda: build_all(built, write=write)
    yield "our own checks", lambda: own_checks(built)
    yield "rendered files", lambda: Outcome(builds.out_of_date())
    yield "PrometheusRule", lambda: Outcome(rules.differing(present(rules.ALERTS)))
    yield "examples", check_examples
    yield "kubernetes-validate", lambda: validate(built)
    yield "kube-score", lambda: score(built)
    yield "promtool check rules", lambda: Outcome(external.rule_faults(tools.install(tools.PROMTOOL), present(rules.ALERTS)))
    yield "promtool test rules", lambda: Outcome(external.rule_test_faults(tools.install(tools.PROMTOOL), present(RULE_TESTS)))
    yield "the image's settings", lambda: Outcome(settings.dockerfile_faults(present(DOCKERFILE).read_text()))
    yield "hadolint", lambda: Outcome(external.dockerfile_faults(tools.install(tools.HADOLINT), present(DOCKERFILE)))


def shown(name: str, check: Callable[[], Outcome]) -> bool:
    """Whether nothing was found."""
    began = time.monotonic()
    try:
        outcome = check()
    except tools.Absent as absent:
        print(f"SKIPPED  {name}: {absent}", flush=True)
        return True
    verdict = "FAULTS " if outcome.found else "ok     "
    note = f": {outcome.note}" if outcome.note else ""
    print(f"{verdict}  {name} ({time.monotonic() - began:.1f} s){note}", flush=True)
    for line in outcome.found:
        print(f"           {line}", flush=True)
    return not outcome.found


def present(path: Path) -> Path:
    """Raises `Absent`."""
    if not path.exists():
        raise tools.Absent(f"there is no {path.relative_to(ROOT)}")
    return path


def build_all(built: Built, *, write: bool) -> Outcome:
    kustomize = tools.install(tools.KUSTOMIZE)
    found = []
    for one in builds.VARIANTS:
        try:
            built[one.name] = external.build(kustomize, one.folder)
        except ValueError as error:
            found.append(f"{one.name}: {error}")
    for name in [one.name for one in builds.WHOLE if one.name in built]:
        if write:
            builds.write(name, built[name])
        elif builds.kept(parse(built[name])) != builds.rendered(name):
            found.append(f"{name}: deploy/kustomize/rendered/{name}.yaml differs from it: `make deploy-check WRITE=1`")
    return Outcome(found, ", ".join(built))


def own_checks(built: Built) -> Outcome:
    """On what was built; where there is no kustomize, on what is kept of it."""
    manifests = {one.name: parse(built[one.name]) if one.name in built else builds.rendered(one.name) for one in builds.WHOLE}
    found = [f"{name}: {check}: {line}" for name, each in manifests.items() for check, lines in findings(each).items() for line in lines]
    return Outcome(found, "as built" if built else "as kept in deploy/kustomize/rendered")


def check_examples() -> Outcome:
    build = builds.rendered("everything")
    return Outcome(
        [fault for name in examples.CHECKS for fault in examples.faults(name, examples.parsed(name), build)], ", ".join(examples.CHECKS)
    )


def validate(built: Built) -> Outcome:
    kubernetes_validate = tools.install(tools.KUBERNETES_VALIDATE)
    found, unknown = [], set[str]()
    with tempfile.TemporaryDirectory() as folder:
        files = [KUSTOMIZE / "examples/ingress.yaml", KUSTOMIZE / "examples/secret.yaml"]
        for name, text in built.items():
            files.append(Path(folder) / f"{name}.yaml")
            files[-1].write_text(text)
        for file in files:
            found += [f"{file.name}: {line}" for line in external.schema_faults(kubernetes_validate, file)]
            unknown |= set(external.without_schema(kubernetes_validate, file))
    return Outcome(found, f"{' and '.join(external.KUBERNETES_VERSIONS)}; it has no schema of {', '.join(sorted(unknown)) or 'nothing'}")


def score(built: Built) -> Outcome:
    kube_score = tools.install(tools.KUBE_SCORE)
    found = [f"{one.name}: {line}" for one in builds.WHOLE if one.name in built for line in external.scores(kube_score, built[one.name])]
    return Outcome(found, f"but for {', '.join(external.IGNORED_SCORES)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
