"""A container's first process: its own root file system, user and privileges; then the command. Runs inside `unshare --mount --pid`, as a script.

The root is a small file system in memory with the system's libraries and the image's folders bound into it, read-only each.
What a pod's security context says of user, groups, capabilities and the root file system is done. There is no seccomp filter and no cgroup.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SYSTEM = ("usr", "bin", "sbin", "lib", "lib64")
ETC = ("ld.so.cache", "nsswitch.conf", "ssl/certs/ca-certificates.crt")


def main(spec: dict[str, Any]) -> None:
    root = Path(spec["root"])
    mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", root)
    for name in SYSTEM:
        outside = Path("/") / name
        if outside.is_symlink():
            (root / name).symlink_to(outside.readlink())
        elif outside.is_dir():
            bind(outside, root / name, writable=False)
    (root / "proc").mkdir()
    mount("-t", "proc", "proc", root / "proc")
    (root / "dev").mkdir()
    mount("--rbind", "/dev", root / "dev")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    copy_etc(root / "etc", Path(spec["hosts"]))
    for source, target, writable in spec["binds"]:
        bind(Path(source), root / target.lstrip("/"), writable=writable)
    if spec["read_only"]:
        mount("-o", "remount,ro", root)
    os.chroot(root)
    os.chdir("/")
    os.execve("/usr/bin/setpriv", ["setpriv", *privileges(spec), *spec["command"]], spec["environment"])


def mount(*args: str | Path) -> None:
    subprocess.run(["mount", *map(str, args)], check=True)


def bind(source: Path, target: Path, *, writable: bool) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("--bind", source, target)
    if not writable:
        mount("-o", "remount,bind,ro", target)


def copy_etc(etc: Path, hosts: Path) -> None:
    for name in ETC:
        source = Path("/etc") / name
        if source.is_file():
            (etc / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, etc / name)
    bind(hosts, etc / "hosts", writable=False)


def privileges(spec: dict[str, Any]) -> list[str]:
    groups = [str(group) for group in spec["groups"]]
    return [
        f"--reuid={spec['user']}",
        f"--regid={spec['group']}",
        f"--groups={','.join(groups)}" if groups else "--clear-groups",
        *(["--bounding-set=-all", "--inh-caps=-all"] if spec["drop_all"] else []),
        *(["--no-new-privs"] if spec["no_new_privileges"] else []),
    ]


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
