"""Mistakes that are made on purpose, for tests to see that they are refused."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.deploy.manifests import NAME, Manifest, named

Mistake = Callable[[list[Manifest]], object]


def mistaken(mistake: Mistake, build: list[Manifest]) -> list[Manifest]:
    broken = deepcopy(build)
    mistake(broken)
    assert broken != build, "this is no mistake"
    return broken


def get(build: list[Manifest], kind: str, name: str = NAME) -> Any:
    found = named(build, kind, name)
    assert found is not None
    return found


def leave_out(build: list[Manifest], kind: str, name: str = NAME) -> None:
    build.remove(get(build, kind, name))
