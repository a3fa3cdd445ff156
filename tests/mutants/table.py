"""Every safeguard that is taken out, as what text stands for it, what stands there instead, and the tests that must fail then.

A text must occur exactly once in its file, so this table cannot go stale unseen: `tests/unit/test_mutants.py` tries each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.mutants import core, edges


@dataclass(frozen=True)
class Mutant:
    """One safeguard less."""

    name: str
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]
    """Nodes as pytest names them. Each of them must fail, or what it says is proved by luck."""

    @property
    def needs_kafka(self) -> bool:
        """It starts a broker of its own, and waits in real time: nothing else should run beside it."""
        return any(test.startswith(("tests/integration", "tests/fault")) for test in self.tests)


def _mutants() -> Iterator[Mutant]:
    for file, rows in (*core.ROWS.items(), *edges.ROWS.items()):
        for name, text, instead, *tests in rows:
            yield Mutant(name, file, text, instead, tuple(tests))


MUTANTS: tuple[Mutant, ...] = tuple(_mutants())
