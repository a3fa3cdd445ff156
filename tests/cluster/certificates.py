"""The certificates of one cluster: an authority that signs for its servers and its clients, gone with the cluster."""

import subprocess
from pathlib import Path
from typing import NamedTuple

DAYS = "2"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Pair(NamedTuple):
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path


class Authority:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self.pair = Pair(directory / "ca.crt", directory / "ca.key")
        openssl("req", "-x509", *CURVE, "-days", DAYS, "-subj", "/CN=cluster", "-keyout", self.pair.key, "-out", self.pair.certificate)

    def issue(self, name: str, *, group: str = "", addresses: tuple[str, ...] = ()) -> Pair:
        """For a user of this name, in this group; with addresses for a server too."""
        pair = Pair(self._directory / f"{name}.crt".replace(":", "-"), self._directory / f"{name}.key".replace(":", "-"))
        subject = f"/O={group}/CN={name}" if group else f"/CN={name}"
        extensions = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        if addresses:
            extensions += ["-addext", f"subjectAltName={','.join(addresses)}"]
        signer: list[str | Path] = ["-CA", self.pair.certificate, "-CAkey", self.pair.key]
        openssl(
            "req", "-x509", *CURVE, *signer, "-days", DAYS, "-subj", subject, *extensions, "-keyout", pair.key, "-out", pair.certificate
        )
        return pair

    def key(self, name: str) -> Path:
        """A key without a certificate: service accounts' tokens are signed with one."""
        path = self._directory / f"{name}.key"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)  # in the form that the API server reads both keys from
        return path


def openssl(*args: str | Path) -> None:
    ran = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
