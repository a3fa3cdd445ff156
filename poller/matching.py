"""Patterns that say who of the project's customers is watched: `source_id=*@example.com`, `metadata.tier=gold`. Pure."""

import hashlib
from collections.abc import Iterator
from fnmatch import fnmatchcase

import msgspec

from poller.model import Listed

METADATA = "metadata."
PATTERNS_MAX = 100
PATTERN_CHARACTERS_MAX = 500


class Match(msgspec.Struct, frozen=True):
    """Any of these: what a pattern is about, and the pattern. None: everybody matches."""

    patterns: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """The same for the same patterns, in whatever order."""
        said = "\n".join(f"{about}={pattern}" for about, pattern in sorted(set(self.patterns)))
        return hashlib.sha256(said.encode()).hexdigest()[:12] if said else "all"

    def __str__(self) -> str:
        """As it is written."""
        return ",".join(f"{about}={pattern}" for about, pattern in self.patterns)

    def __contains__(self, customer: Listed) -> bool:
        """Whether it is wanted. What it does not have matches nothing, not even `*`."""
        return not self.patterns or any(
            fnmatchcase(value, pattern) for about, pattern in self.patterns for value in _values(customer, about)
        )


def _values(customer: Listed, about: str) -> Iterator[str]:
    if about == "source_id":
        yield from () if customer.source_id is None else (customer.source_id,)
    else:
        name = about.removeprefix(METADATA)
        yield from (value for key, value in customer.metadata if key == name)


def to_match(text: str) -> Match:
    """Patterns between commas. Raises `ValueError`."""
    patterns = tuple(_pattern(part.strip()) for part in text.split(",") if part.strip())
    if not patterns:
        raise ValueError("names no pattern, such as source_id=*@example.com")
    if len(patterns) > PATTERNS_MAX:
        raise ValueError(f"names {len(patterns)} patterns; at most {PATTERNS_MAX} can be used")
    return Match(patterns)


def _pattern(text: str) -> tuple[str, str]:
    about, equals, pattern = text.partition("=")
    about, pattern = about.strip(), pattern.strip()
    if not equals or not pattern or (about != "source_id" and not (about.startswith(METADATA) and about != METADATA)):
        raise ValueError(
            f"should be patterns such as source_id=*@example.com or metadata.tier=gold, separated by commas, not {text[:100]!r}"
        )
    if len(text) > PATTERN_CHARACTERS_MAX:
        raise ValueError(f"has a pattern of more than {PATTERN_CHARACTERS_MAX} characters: {text[:50]!r}…")
    return about, pattern
