"""A pod's volumes as folders, and its variables, as a kubelet makes them out of ConfigMaps and Secrets."""

import base64
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from tests.cluster.api import Api, Object, Refused

DATA = "..data"


class Waiting(Exception):
    """Something that the pod names is not there yet: the reason as kubelets give it, and what is missing."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


async def content(api: Api, namespace: str, kind: str, name: str, *, reason: str, optional: bool = False) -> dict[str, bytes]:
    """What a ConfigMap (`configmaps`) or a Secret (`secrets`) holds. Raises `Waiting`."""
    try:
        found = await api.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
    except Refused as error:
        if error.status != 404:
            raise
        if optional:
            return {}
        raise Waiting(reason, error.message) from error
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}


async def write_volume(api: Api, pod: Object, volume: Object, folder: Path) -> None:
    """Write it, or write it anew: readers see all of the old files or all of the new ones. Raises `Waiting`."""
    make(folder)
    namespace, group = pod["metadata"]["namespace"], pod["spec"].get("securityContext", {}).get("fsGroup", 0)
    if "secret" in volume:
        source, kind, name = volume["secret"], "secrets", volume["secret"]["secretName"]
    elif "configMap" in volume:
        source, kind, name = volume["configMap"], "configmaps", volume["configMap"]["name"]
    elif "emptyDir" in volume:
        own(folder, group, 0o2777)
        return
    else:
        raise Waiting("FailedMount", f"this kind of volume is not known here: {volume}")
    held = await content(api, namespace, kind, name, reason="FailedMount", optional=source.get("optional", False))
    place(folder, chosen(held, source), group, source.get("defaultMode", 0o644))


def chosen(held: dict[str, bytes], source: Object) -> dict[str, bytes]:
    items = source.get("items")
    if items is None:
        return held
    missing = [item["key"] for item in items if item["key"] not in held]
    if missing:
        raise Waiting("FailedMount", f"references non-existent key: {', '.join(missing)}")
    return {item["path"]: held[item["key"]] for item in items}


def place(folder: Path, files: Mapping[str, bytes], group: int, mode: int) -> None:
    """As kubelets do it: the files are links into a folder that is replaced in one step."""
    now = (folder / DATA).resolve() if (folder / DATA).is_symlink() else None
    if now is not None and {path.name: path.read_bytes() for path in now.iterdir()} == dict(files):
        return
    fresh = folder / f"..{uuid4().hex[:8]}"
    fresh.mkdir()
    own(fresh, group, 0o755)
    for name, value in files.items():
        (fresh / name).write_bytes(value)
        own(fresh / name, group, mode)
    link = folder / f"{DATA}.new"
    link.symlink_to(fresh.name)
    link.rename(folder / DATA)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{DATA}/{name}")
    if now is not None:
        shutil.rmtree(now)


def make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)


def own(path: Path, group: int, mode: int) -> None:
    os.chown(path, 0, group)
    path.chmod(mode)


async def variables(api: Api, pod: Object, container: Object, address: str) -> dict[str, str]:
    """`envFrom`, and over it `env`. Raises `Waiting`."""
    namespace, reason = pod["metadata"]["namespace"], "CreateContainerConfigError"
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for field, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if field in source:
                held = await content(
                    api, namespace, kind, source[field]["name"], reason=reason, optional=source[field].get("optional", False)
                )
                found |= {source.get("prefix", "") + key: value.decode() for key, value in held.items()}
    for variable in container.get("env", []):
        found[variable["name"]] = (
            variable["value"] if "valueFrom" not in variable else await value_from(api, pod, variable["valueFrom"], address)
        )
    return found


async def value_from(api: Api, pod: Object, source: Object, address: str) -> str:
    namespace, reason = pod["metadata"]["namespace"], "CreateContainerConfigError"
    for field, kind in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if field in source:
            held = await content(api, namespace, kind, source[field]["name"], reason=reason)
            if source[field]["key"] not in held:
                raise Waiting(reason, f"couldn't find key {source[field]['key']} in {source[field]['name']}")
            return held[source[field]["key"]].decode()
    fields = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": namespace,
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"]["nodeName"],
        "status.podIP": address,
    }
    return str(fields[source["fieldRef"]["fieldPath"]])
