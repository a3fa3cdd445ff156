"""Every file that is generated from the code's own tables: written, and checked to be current."""

from pathlib import Path

from poller.settings_reference import ENV_PATH, MARKDOWN_PATH, SCHEMA_PATH, env_text, markdown_text, schema_text
from poller.telemetry_reference import EVENTS_PATH, METRICS_PATH, events_text, metrics_text


def files() -> dict[Path, str]:
    """Each generated file's path, from the repository's root, and its text."""
    return {
        ENV_PATH: env_text(),
        MARKDOWN_PATH: markdown_text(),
        SCHEMA_PATH: schema_text(),
        METRICS_PATH: metrics_text(),
        EVENTS_PATH: events_text(),
    }


def stale(root: Path) -> list[Path]:
    """The generated files under `root` that are missing or say something else."""
    return [path for path, text in files().items() if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text]


def write(root: Path) -> list[Path]:
    """Write what is not current; what was written."""
    written = stale(root)
    for path in written:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files()[path], encoding="utf-8")
    return written
