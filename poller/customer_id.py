"""Which customer ids can be asked for: any text that a path can carry as one segment."""

import unicodedata

ID_CHARACTERS_MAX = 1024
"""Percent-encoded, even the widest id of this length stays below what clients and proxies take for a path."""


def refusal(id: str) -> str | None:
    """Why the id cannot stand in a path, as the end of a sentence; `None` where it can."""
    if not id:
        return "is empty"
    if id in (".", ".."):
        return "would be taken for a part of the path"  # however it is encoded, clients and proxies normalise it away
    if len(id) > ID_CHARACTERS_MAX:
        return f"is longer than {ID_CHARACTERS_MAX} characters"
    categories = {unicodedata.category(character) for character in id}
    if "Cc" in categories:
        return "holds control characters"
    if "Cs" in categories:
        return "holds half a surrogate pair, which is no text"
    return None
