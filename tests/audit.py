"""`python -m tests.audit PIP_AUDIT`: known vulnerabilities of what is pinned; exit 1 where there are some, 3 where nobody could be asked."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLEAN, VULNERABLE, UNASKED = 0, 1, 3
SECONDS_MAX = 120
UNREACHABLE = (
    "ConnectionError",
    "Max retries",
    "NameResolution",
    "Failed to establish",
    "timed out",
    "ServiceError",
    "HTTPError",
    "ProxyError",
    "could not be audited",
)


def main(pip_audit: str) -> int:
    return max(audit(pip_audit, path) for path in sorted((ROOT / "requirements").glob("*.txt")))


def audit(pip_audit: str, path: Path) -> int:
    """One file of pins; nothing of it is installed or resolved anew."""
    command = [pip_audit, "--strict", "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--timeout", "10", "-r", str(path)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
        code, said = ran.returncode, ran.stdout + ran.stderr
    except subprocess.TimeoutExpired:
        code, said = VULNERABLE, "timed out"
    verdict = judged(code, said)
    print(f"{path.name}: {said_of(verdict, said)}", flush=True)
    return verdict


def judged(code: int, said: str) -> int:
    """What pip-audit's answer means. It ends alike where it found something and where it could ask nobody."""
    if code == 0:
        return CLEAN
    return VULNERABLE if "known vulnerabilit" in said or not any(sign in said for sign in UNREACHABLE) else UNASKED


def said_of(verdict: int, said: str) -> str:
    match verdict:
        case 0:
            return "no known vulnerability"
        case 3:
            return f"NOT AUDITED: no vulnerability service can be reached from here ({said.strip().splitlines()[-1][:200]})"
        case _:
            return said.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
