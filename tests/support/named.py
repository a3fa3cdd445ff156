"""Tests that a table or a document names: whether there are such."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def exists(node: str) -> bool:
    """Whether pytest knows `file::test` or `file::Class::test`; which parameters it has is not looked at."""
    file, _, name = node.partition("::")
    return name.partition("[")[0] in _tests_of(ROOT / file)


@lru_cache(maxsize=200)
def _tests_of(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text())
    own = {"": [one for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]}
    classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    methods = {f"{name}::": list(_methods(one, classes)) for name, one in classes.items()}
    return frozenset(
        f"{prefix}{one.name}" for prefix, functions in (own | methods).items() for one in functions if one.name.startswith("test_")
    )


def _methods(one: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Its own, and those of the classes of the same file that it extends."""
    yield from (part for part in one.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
    for base in one.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            yield from _methods(classes[base.id], classes)
