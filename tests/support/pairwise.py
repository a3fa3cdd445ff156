"""Few cases in which every two values of two factors meet; most faults take no more than two (Kuhn, Wallace and Gallo, TSE 2004)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

Choice = tuple[str, int]
"""A factor, and which of its values."""


def pairwise(factors: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Cases that cover every pair, the same for the same factors. Greedy: each starts with an uncovered pair and takes in as many more as it can."""
    names = sorted(factors, key=lambda name: -len(factors[name]))
    uncovered = dict.fromkeys(
        ((one, i), (other, j))
        for one, other in combinations(names, 2)
        for i, j in product(range(len(factors[one])), range(len(factors[other])))
    )
    used: Counter[Choice] = Counter()
    cases = []
    while uncovered:
        chosen: dict[str, int] = dict(next(iter(uncovered)))
        for name in names:
            if name not in chosen:
                chosen[name] = max(range(len(factors[name])), key=lambda i: (gained(name, i, chosen, uncovered), -used[name, i]))
        in_order = [(name, chosen[name]) for name in names]
        used.update(in_order)
        for pair in combinations(in_order, 2):
            uncovered.pop(pair, None)
        cases.append({name: factors[name][chosen[name]] for name in factors})
    return cases


def gained(name: str, value: int, chosen: Mapping[str, int], uncovered: Mapping[tuple[Choice, Choice], None]) -> int:
    """How many uncovered pairs this value makes with what is chosen."""
    return sum(((name, value), other) in uncovered or (other, (name, value)) in uncovered for other in chosen.items())
