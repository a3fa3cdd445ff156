"""What may reach a terminal: text of others, without what would command it."""

import unicodedata

_KEPT = "\n\t"
_COMMANDS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control and format characters (which turn the direction of writing), surrogates, line and paragraph separators, what is not assigned."""


def printable(text: str, *, kept: str = "") -> str:
    r"""The text with each control character written as an escape (`\x1b`), those in `kept` apart."""
    if text.isprintable():
        return text
    return "".join(character if character in kept or not _commands(character) else _escaped(character) for character in text)


def printable_lines(text: str) -> str:
    """As `printable`, with line ends and tabs as they are."""
    return printable(text, kept=_KEPT)


def _commands(character: str) -> bool:
    return unicodedata.category(character) in _COMMANDS


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def json_escaped(text: str) -> str:
    r"""JSON with its control characters as `\u…`: they can stand in strings only, so it means the same."""
    if text.isprintable():
        return text
    return "".join(_json_escape(character) if _commands(character) else character for character in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[index]:02x}{units[index + 1]:02x}" for index in range(0, len(units), 2))
