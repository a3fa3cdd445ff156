"""Where pip looks for packages on this machine, as a build in a container has to be told it."""

import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TAKEN = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries")
"""What holds inside too; paths would not."""

AUTHORITIES = Path(os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().openssl_cafile)
AUTHORITIES_INSIDE = "/run/secrets/ca_certificates"
DEBIAN = Path("/etc/ssl/certs/ca-certificates.crt")
if not AUTHORITIES.exists():
    AUTHORITIES = DEBIAN


def pip_conf() -> str:
    """May hold credentials: as a secret of the build it stays in no layer."""
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    return conf_of(said, AUTHORITIES.exists())


def conf_of(listed: str, with_authorities: bool) -> str:
    """From what `pip config list` says; the environment, which comes last there, holds over files."""
    given: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        given[name.rpartition(".")[2]] = value.strip("'")
    taken: Mapping[str, str] = {name: given[name] for name in TAKEN if name in given}
    lines = [f"{name} = {value}" for name, value in taken.items()] + ([f"cert = {AUTHORITIES_INSIDE}"] if with_authorities else [])
    return "\n".join(["[global]", *lines, ""])
