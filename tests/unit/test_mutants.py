"""The mutants of `make mutants` fit the program as it is; whether each is caught, only that tells."""

import ast
from pathlib import Path

import pytest

from tests.mutants.table import MUTANTS, Mutant
from tests.mutants.tree import ROOT, Stale, mutated
from tests.support.named import exists


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_can_be_made_is_python_and_names_tests_that_exist(mutant: Mutant) -> None:
    tree = ast.parse(mutated(mutant, (ROOT / mutant.file).read_text()))

    assert tree.body
    assert [test for test in mutant.tests if not exists(test)] == []
    assert mutant.tests


def test_no_two_mutants_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(("text", "instead"), [("twice", "once"), ("never", "once"), ("here", "here")])
def test_a_mutant_whose_text_does_not_stand_once_is_refused(text: str, instead: str) -> None:
    with pytest.raises(Stale, match="a name"):
        mutated(Mutant("a name", "a file", text, instead, ()), "here, twice, twice")


def test_a_test_that_does_not_exist_is_seen() -> None:
    here = Path(__file__).relative_to(ROOT)

    assert exists(f"{here}::test_a_test_that_does_not_exist_is_seen")
    assert exists(f"{here}::test_a_mutant_whose_text_does_not_stand_once_is_refused[whatever]")
    assert not exists(f"{here}::test_nothing")
    assert not exists("tests/unit/test_nothing.py::test_nothing")
    assert not exists(str(here))
