"""The access lists that the documentation gives, read from it as written: commands of `kafka-acls` and `kafka-topics`."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DOCUMENT = Path(__file__).parents[2] / "docs" / "kafka-security.md"


class Acl(NamedTuple):
    """One permission."""

    principal: str
    operation: str
    resource: str
    name: str
    pattern: str = "literal"

    def __str__(self) -> str:
        return f"{self.operation}-{self.resource}-{self.name}"


class NewTopic(NamedTuple):
    name: str
    partitions: int
    configs: dict[str, str]


def documented_acls(heading: str) -> list[Acl]:
    """Every permission that the commands under this heading give, in their order."""
    return [acl for words in _commands(heading) if words[0] == "kafka-acls" for acl in _acls(words[1:])]


def documented_topics(heading: str) -> list[NewTopic]:
    return [_topic(words[1:]) for words in _commands(heading) if words[0] == "kafka-topics"]


def advised(line: str) -> list[Acl]:
    """What a line that names a missing permission says to grant."""
    return [acl for command in re.findall(r"\((kafka-acls [^)]*)\)", line) for acl in _acls(shlex.split(command)[1:])]


def _commands(heading: str) -> Iterator[list[str]]:
    (section,) = [one for one in re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE) if one.startswith(f"{heading}\n")]
    for block in re.findall(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def _acls(words: list[str]) -> list[Acl]:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for flag in ("--bootstrap-server", "--command-config"):
        parser.add_argument(flag)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--operation", action="append", required=True)
    for resource in ("topic", "group", "transactional-id"):
        parser.add_argument(f"--{resource}", action="append", default=[])
    parser.add_argument("--resource-pattern-type", choices=("literal", "prefixed"), default="literal")
    given = vars(parser.parse_args(words))
    return [
        Acl(given["allow_principal"], operation, resource, name, given["resource_pattern_type"])
        for resource in ("topic", "group", "transactional-id")
        for name in given[resource.replace("-", "_")]
        for operation in given["operation"]
    ]


def _topic(words: list[str]) -> NewTopic:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for flag in ("--bootstrap-server", "--command-config", "--topic"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--create", action="store_true", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--config", action="append", default=[])
    given = parser.parse_args(words)
    return NewTopic(given.topic, given.partitions, dict(one.split("=", 1) for one in given.config))
