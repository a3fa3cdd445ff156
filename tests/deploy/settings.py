"""Settings in manifests: each exists, all together can be used, and no secret is where everybody reads it."""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from poller.config import KNOWN, Settings, load
from poller.errors import SettingsError
from poller.setting import PREFIX
from tests.deploy.manifests import KUSTOMIZE, Manifest, Manifests, called, containers, named, of_kind, pod, poller, read, workloads

MODE_DEFAULT = 0o644
"""What Kubernetes gives a Secret's files where nothing is said."""
MODE_MAX = 0o440
STAND_IN = "stand-in"
"""For a secret that is made beforehand: any credential will do here."""
SECRET_VARIABLES = {name.removesuffix("_FILE") for name in KNOWN if name.endswith("_FILE") and name.removesuffix("_FILE") in KNOWN}


def environment(manifests: Manifests, container: Any) -> dict[str, str]:
    """What a container finds in its environment; of what refers to a Secret, nothing."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        config_map = named(manifests, "ConfigMap", source.get("configMapRef", {}).get("name", ""))
        found |= (config_map or {}).get("data", {})
    return found | {one["name"]: one.get("value", "") for one in container.get("env", [])}


def poller_environment(manifests: Manifests) -> dict[str, str]:
    return environment(manifests, pod(poller(manifests))["containers"][0])


def settings_exist(manifests: Manifests) -> Iterator[str]:
    """Those of containers, and of ConfigMaps that no container takes."""
    places: list[tuple[str, Mapping[str, str]]] = [(called(one), one.get("data") or {}) for one in of_kind(manifests, "ConfigMap")]
    places += [(called(one), environment(manifests, container)) for one in workloads(manifests) for container in containers(one)]
    for place, data in places:
        yield from (f"{place}: {name} is no setting" for name in data if name.startswith(PREFIX) and name not in KNOWN)


def settings_can_be_used(manifests: Manifests) -> Iterator[str]:
    """As the program itself reads them, with the files that are mounted."""
    environ = {name: value for name, value in poller_environment(manifests).items() if name in KNOWN}
    with TemporaryDirectory() as folder:
        root = Path(folder)
        lay_out_mounts(manifests, root)
        try:
            load({name: in_root(root, name, value) for name, value in environ.items()})
        except SettingsError as error:
            yield from (f"{called(poller(manifests))}: {fault}" for fault in str(error).replace(folder, "").splitlines())


def loaded(manifests: Manifests) -> Settings:
    """Raises `SettingsError`."""
    with TemporaryDirectory() as folder:
        lay_out_mounts(manifests, Path(folder))
        return load({name: in_root(Path(folder), name, value) for name, value in poller_environment(manifests).items()})


def in_root(root: Path, name: str, value: str) -> str:
    return f"{root}{value}" if name.endswith("_FILE") and value.startswith("/") else value


def lay_out_mounts(manifests: Manifests, root: Path) -> None:
    """The poller's mounted files, below `root`."""
    one = poller(manifests)
    volumes = {volume["name"]: volume for volume in pod(one).get("volumes", [])}
    for mount in pod(one)["containers"][0].get("volumeMounts", []):
        folder = root / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        for name, content in files_of(manifests, volumes.get(mount["name"], {})).items():
            (folder / name).write_bytes(content)


def files_of(manifests: Manifests, volume: Any) -> dict[str, bytes]:
    """Of a Secret that is made beforehand: the keys that the example has."""
    if "configMap" in volume:
        config_map = named(manifests, "ConfigMap", volume["configMap"]["name"]) or {}
        return {name: text.encode() for name, text in config_map.get("data", {}).items()}
    if "secret" in volume:
        found = named(manifests, "Secret", volume["secret"]["secretName"])
        if found is not None:
            return secret_data(found)
        example = named(example_secrets(), "Secret", volume["secret"]["secretName"]) or {}
        return dict.fromkeys(example.get("stringData", {}), STAND_IN.encode())
    return {}


def secret_data(secret: Manifest) -> dict[str, bytes]:
    texts = {name: text.encode() for name, text in (secret.get("stringData") or {}).items()}
    return {name: base64.b64decode(text) for name, text in (secret.get("data") or {}).items()} | texts


def example_secrets() -> list[Manifest]:
    return read(KUSTOMIZE / "examples/secret.yaml")


def secrets_are_files(manifests: Manifests) -> Iterator[str]:
    """Neither in a ConfigMap nor in an environment, where `kubectl describe` shows them."""
    for one in of_kind(manifests, "ConfigMap"):
        yield from (f"{called(one)}: {name} is a secret: use {name}_FILE" for name in one.get("data") or {} if name in SECRET_VARIABLES)
    for one in workloads(manifests):
        names = {entry["name"] for container in containers(one) for entry in container.get("env", [])}
        yield from (f"{called(one)}: {name} is a secret: use {name}_FILE" for name in sorted(names & SECRET_VARIABLES))
        yield from (
            f"{called(one)}: {place} puts a Secret in the environment"
            for container in containers(one)
            for place in _from_secrets(container)
        )


def _from_secrets(container: Any) -> list[str]:
    whole = [f"envFrom {source['secretRef']['name']}" for source in container.get("envFrom", []) if "secretRef" in source]
    return whole + [entry["name"] for entry in container.get("env", []) if "secretKeyRef" in entry.get("valueFrom", {})]


def mounts_are_renewed(manifests: Manifests) -> Iterator[str]:
    """What is mounted as a single file stays as it was when the container began."""
    for one in workloads(manifests):
        single = [
            mount
            for container in containers(one)
            for mount in container.get("volumeMounts", [])
            if {"subPath", "subPathExpr"} & mount.keys()
        ]
        yield from (f"{called(one)}: {mount['name']} at {mount['mountPath']} has a subPath: it would never be renewed" for mount in single)


def secrets_are_for_the_pod_alone(manifests: Manifests) -> Iterator[str]:
    """Their files: read by its group, which is how a user that is not root gets at them, and by nobody else; and written by nobody."""
    for one in workloads(manifests):
        mounted = [(volume["name"], volume["secret"]) for volume in pod(one).get("volumes", []) if "secret" in volume]
        if mounted and pod(one).get("securityContext", {}).get("fsGroup", 0) < 1:
            yield f"{called(one)}: without fsGroup its user may not read the files of its Secrets"
        for name, secret in mounted:
            modes = [secret.get("defaultMode", MODE_DEFAULT), *(item["mode"] for item in secret.get("items", []) if "mode" in item)]
            yield from (f"{called(one)}: volume {name} has files of mode {mode:04o}, should be 0440" for mode in modes if mode & ~MODE_MAX)


def drain_seconds(manifests: Manifests) -> float:
    return float(poller_environment(manifests).get("POLLER_DRAIN_SECONDS", "25"))


def dockerfile_faults(text: str) -> list[str]:
    """Of what the image sets: whether there is such a setting."""
    names = re.findall(rf"\b({PREFIX}\w+)=", text)
    return [f"deploy/Dockerfile: {name} is no setting" for name in names if name not in KNOWN]
