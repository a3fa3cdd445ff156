"""The checks, in the order of a deployment's life: mistakes refused, the overlay `dev` from nothing to nothing, the overlay `production`."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from poller.demo.truth import Expected, Truth
from tests.cluster.api import Object, Refused
from tests.cluster.report import Report
from tests.cluster.trial import ADMIN_PORT, DEV, GONE_SECONDS_MAX, NAME, POLLERS, PRODUCTION, Trial, zones_of
from tests.fault.judge import differs
from tests.support.topics import Name, name_of, reading
from tests.support.waiting import until

Check = Callable[[Trial], Awaitable[str]]
NOTICED_SECONDS_MAX = 60
PUBLISHED_SECONDS_MAX = 90


async def run(trial: Trial, report: Report, definitions: tuple[Path, ...]) -> None:
    """All of them. Where the overlay cannot be applied or rolled out, what stands on it is left out."""
    await report.check("definitions of the Prometheus Operator, KEDA and Strimzi taken", partial(define, trial, definitions))
    if await report.check("dev: applied server-side and strictly, without a warning", partial(apply, trial, "dev")):
        for name, check in MISTAKES:
            await report.check(f"refused: {name}", partial(check, trial))
        if await report.check("dev: rolled out: Kafka, simulator, pollers", partial(roll_out_dev, trial)):
            for name, check in LIFE:
                await report.check(f"dev: {name}", partial(check, trial))
    if await report.check("production: applied server-side and strictly, without a warning", partial(apply, trial, "production")):
        for name, check in IN_PRODUCTION:
            await report.check(f"production: {name}", partial(check, trial))
    for overlay, namespace in (("production", PRODUCTION), ("dev", DEV)):
        await report.check(f"{overlay}: deleted, and nothing of it is left", partial(delete, trial, overlay, namespace))
    await report.check("every poller that had started ended in time when asked", partial(ended_well, trial))


# ------------------------------------------------------------------------------------------------------------- from nothing


async def define(trial: Trial, definitions: tuple[Path, ...]) -> str:
    for path in definitions:
        await trial.kubectl.done("apply", "--server-side", "-f", str(path))
    await trial.kubectl.done("create", "namespace", "kafka")  # where the examples for Strimzi put theirs
    await trial.kubectl.done("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    return f"{len(definitions)} definitions"


async def apply(trial: Trial, overlay: str) -> str:
    ran = await trial.applied(trial.manifests / "overlays" / overlay)
    kinds = [line.partition("/")[0].partition(".")[0] for line in ran.out.splitlines()]
    return f"{len(kinds)} objects: {', '.join(sorted(set(kinds)))}"


async def roll_out_dev(trial: Trial) -> str:
    for name in ("kafka", "simulator", NAME):
        await trial.rolled_out(DEV, name)
    pods = await trial.settled(DEV, 2)
    return f"{len(pods)} pollers ready"


# ------------------------------------------------------------------------------------------------------------------ mistakes


async def unknown_field(trial: Trial) -> str:
    patch = json.dumps({**head("apps/v1", "Deployment"), "spec": {"template": {"spec": {"terminationGracePeriod": 45}}}})
    folder = trial.overlay("unknown-field", "dev", patches=[{"patch": patch}])
    return await refused(trial, folder, "terminationGracePeriod")


async def misspelt_enumeration(trial: Trial) -> str:
    patch = json.dumps({**head("policy/v1", "PodDisruptionBudget"), "spec": {"unhealthyPodEvictionPolicy": "Always"}})
    folder = trial.overlay("misspelt", "dev", patches=[{"patch": patch}])
    return await refused(trial, folder, "unhealthyPodEvictionPolicy")


async def other_selector(trial: Trial) -> str:
    labels = {"app.kubernetes.io/name": "another"}
    patch = json.dumps(
        {**head("apps/v1", "Deployment"), "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    )
    folder = trial.overlay("other-selector", "dev", patches=[{"patch": patch}])
    return await refused(trial, folder, "immutable")


async def unknown_rule_field(trial: Trial) -> str:
    rule = {"alert": "X", "expr": "vector(1)", "anotations": {"summary": "x"}}
    wrong = {**head("monitoring.coreos.com/v1", "PrometheusRule", "wrong"), "spec": {"groups": [{"name": "x", "rules": [rule]}]}}
    wrong["metadata"]["namespace"] = DEV
    ran = await trial.kubectl.apply_object(wrong)
    return said(ran.code, ran.err, "anotations")


async def privileged_pod(trial: Trial) -> str:
    container = {"name": "one", "image": NAME, "securityContext": {"privileged": True}}
    pod = {**head("v1", "Pod", "privileged"), "spec": {"serviceAccountName": NAME, "containers": [container]}}
    try:
        await trial.api.post(f"/api/v1/namespaces/{DEV}/pods", pod)
    except Refused as error:
        return said(error.status, error.message, "violates PodSecurity")
    raise AssertionError("a privileged pod was taken: nothing enforces `restricted` on the namespace")


async def privileged_deployment(trial: Trial) -> str:
    """The API server takes it with a warning; its pods are refused. `applied` refuses the warning."""
    patch = {**head("apps/v1", "Deployment"), "spec": {"template": {"spec": {"containers": [{"name": "poller", "securityContext": None}]}}}}
    folder = trial.overlay("unrestricted", "dev", patches=[{"patch": json.dumps(patch)}])
    ran = await trial.kubectl("apply", "--server-side", "--validate=strict", "--dry-run=server", "-k", str(folder))
    assert any("PodSecurity" in line for line in ran.warnings), f"no warning: {ran.err or ran.out}"
    return cut(ran.warnings[0])


async def budget_without_selector(trial: Trial) -> str:
    """The API server takes it, and it protects nobody: what `protected` checks of the real one."""
    name = "without-selector"
    wrong = {**head("policy/v1", "PodDisruptionBudget", name), "spec": {"maxUnavailable": 1}}
    wrong["metadata"]["namespace"] = DEV
    ran = await trial.kubectl.apply_object(wrong)
    assert ran.code == 0, ran.err
    await until(lambda: observed(trial, name), within_seconds=NOTICED_SECONDS_MAX)
    try:
        await protected(trial, name)
    except AssertionError as error:
        return f"taken, and noticed: {cut(str(error))}"
    finally:
        await trial.kubectl.done("delete", "pdb", name, "-n", DEV)
    raise AssertionError("nothing noticed that it protects nobody")


async def observed(trial: Trial, name: str) -> bool:
    return "observedGeneration" in (await trial.budget(DEV, name)).get("status", {})


MISTAKES: list[tuple[str, Check]] = [
    ("an unknown field of a Deployment", unknown_field),
    ("a value that an enumeration does not have", misspelt_enumeration),
    ("another selector for a Deployment that exists", other_selector),
    ("an unknown field of a PrometheusRule", unknown_rule_field),
    ("a pod that violates `restricted`", privileged_pod),
    ("a Deployment whose pods violate it (its warning)", privileged_deployment),
]


# ---------------------------------------------------------------------------------------------------------------------- life


async def applied_again(trial: Trial) -> str:
    before = (await trial.deployment(DEV))["metadata"]["generation"]
    await apply(trial, "dev")
    after = (await trial.deployment(DEV))["metadata"]["generation"]
    assert before == after, f"the Deployment's generation went from {before} to {after}"
    return f"generation {after}, as before"


async def one_reads(trial: Trial) -> str:
    reasons: list[str] = []

    async def found() -> bool:
        reasons[:] = [await reason(pod.address) for pod in trial.running(DEV)]
        return sorted("owning" in one for one in reasons) == [False, True]

    await until(found, within_seconds=30)
    return "; ".join(reasons)


async def reason(address: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        return str((await client.get(f"http://{address}:{ADMIN_PORT}/readyz")).json()["reason"])


async def spread(trial: Trial) -> str:
    zones = zones_of(await trial.settled(DEV, 2))
    assert len(set(zones)) == 2, f"both pods are in {zones}"
    return ", ".join(zones)


async def services_lead_somewhere(trial: Trial, namespace: str = DEV) -> str:
    def lost() -> list[str]:
        return [name for name, addresses in trial.services.ready(namespace).items() if not addresses]

    with suppress(AssertionError):
        await until(lambda: trial.services.ready(namespace) and not lost(), within_seconds=30)
    ready = trial.services.ready(namespace)
    assert ready, "there is no Service"
    assert not lost(), f"these lead to no ready pod: {', '.join(lost())}"
    return ", ".join(f"{name} {len(addresses)}" for name, addresses in sorted(ready.items()))


async def unprivileged(trial: Trial) -> str:
    """As the kernel sees the processes."""
    shown = set()
    for pod in trial.running(DEV):
        status = status_of(pod.pid)
        uid, effective, bounding, no_new = status["Uid"].split()[1], status["CapEff"], status["CapBnd"], status["NoNewPrivs"]
        assert (uid, int(effective, 16), int(bounding, 16), no_new) == ("65532", 0, 0, "1"), status
        assert root_options(pod.pid) == {"ro"}, "its root can be written to"
        shown.add(f"user {uid}, no capability, no new privileges, read-only root")
    return "; ".join(shown)


def status_of(pid: int) -> dict[str, str]:
    """What /proc says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def root_options(pid: int) -> set[str]:
    """Whether the root file system of a process is mounted `ro` or `rw`."""
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return {mount[5].partition(",")[0] for mount in mounts if mount[4] == "/"}


async def protected(trial: Trial, name: str = NAME) -> str:
    if name == NAME:
        with suppress(AssertionError):
            await until(lambda: allows(trial, 1), within_seconds=NOTICED_SECONDS_MAX)
    status = (await trial.budget(DEV, name))["status"]
    assert (status["expectedPods"], status["disruptionsAllowed"]) == (2, 1), (
        f"it covers {status['expectedPods']} pods of 2, and allows {status['disruptionsAllowed']} disruptions"
    )
    return f"{status['expectedPods']} pods covered, 1 disruption allowed"


async def evicted_once(trial: Trial) -> str:
    first, second = await trial.settled(DEV, 2)
    await until(lambda: allows(trial, 1), within_seconds=NOTICED_SECONDS_MAX)
    await evict(trial, first)
    again = await refusal(trial, second)
    assert again is not None, "both pods were evicted"
    assert again.status == 429, again
    least, looks = await trial.ready_meanwhile(DEV, lambda: trial.settled(DEV, 2))
    assert least >= 1, f"{least} pods were ready"
    return f"first evicted, second refused with 429; never fewer than {least} ready in {looks} looks; then 2 again"


async def refusal(trial: Trial, pod: Object) -> Refused | None:
    try:
        await evict(trial, pod)
    except Refused as error:
        return error
    return None


async def allows(trial: Trial, disruptions: int) -> bool:
    return bool((await trial.budget(DEV))["status"].get("disruptionsAllowed") == disruptions)


async def evict(trial: Trial, pod: Object) -> None:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    await trial.api.post(f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)


async def setting_changed(trial: Trial) -> str:
    before = {pod["metadata"]["name"] for pod in await trial.settled(DEV, 2)}
    folder = trial.setting("changed", "dev", DEV, POLLER_CALLS_PER_MINUTE="240")

    async def change() -> None:
        await trial.applied(folder)
        await trial.rolled_out(DEV)

    least, looks = await trial.ready_meanwhile(DEV, change)
    after = {pod["metadata"]["name"] for pod in await trial.settled(DEV, 2)}
    assert not before & after, f"{before & after} went on with the old setting"
    assert least >= 1, f"at one time {least} pods were ready"
    return f"both replaced; never fewer than {least} ready in {looks} looks at /readyz"


async def scaled(trial: Trial) -> str:
    await trial.kubectl.done("scale", f"deployment/{NAME}", "--replicas=3", "-n", DEV)
    zones = zones_of(await trial.settled(DEV, 3))
    assert len(set(zones)) == 3, f"three pods are in {zones}"
    await trial.kubectl.done("scale", f"deployment/{NAME}", "--replicas=2", "-n", DEV)
    await trial.settled(DEV, 2)
    return f"3 in {', '.join(zones)}; then 2"


async def mistake_undone(trial: Trial) -> str:
    """A setting that the poller refuses: its pod never becomes ready, the others stay; then back."""
    before = {pod["metadata"]["name"] for pod in await trial.settled(DEV, 2)}
    folder = trial.setting("mistaken", "dev", DEV, POLLER_CALLS_PER_MINUT="240")

    async def stuck_and_back() -> None:
        await trial.applied(folder)
        await until(lambda: any(pod.restarts for pod in trial.running(DEV)), within_seconds=NOTICED_SECONDS_MAX)
        await trial.kubectl.done("rollout", "undo", f"deployment/{NAME}", "-n", DEV)
        await trial.rolled_out(DEV)

    least, looks = await trial.ready_meanwhile(DEV, stuck_and_back)
    after = {pod["metadata"]["name"] for pod in await trial.settled(DEV, 2)}
    assert before == after, f"{before} became {after}"
    assert least == 2, f"at one time {least} of 2 were ready"
    return f"its pod restarts and is never ready, both others stay ({looks} looks); undone"


async def node_drained(trial: Trial) -> str:
    """`kubectl drain`, as before a node's maintenance."""
    (pod, _) = await trial.settled(DEV, 2)
    node = pod["spec"]["nodeName"]

    async def drain() -> None:
        await trial.kubectl.done("drain", node, "--ignore-daemonsets", f"--pod-selector={POLLERS}", "--timeout=120s")
        await trial.settled(DEV, 2)

    least, looks = await trial.ready_meanwhile(DEV, drain)
    zones = [one["spec"]["nodeName"] for one in await trial.settled(DEV, 2)]
    await trial.kubectl.done("uncordon", node)
    assert node not in zones, f"one is on {node} still"
    assert least >= 1, f"at one time {least} were ready"
    return f"{node} emptied; never fewer than {least} ready in {looks} looks"


async def nothing_lost(trial: Trial) -> str:
    """The topic, against what the simulated API says that it has shown, after all that happened to the pods."""
    (simulator,) = trial.running(DEV, "simulator")
    async with httpx.AsyncClient(trust_env=False, timeout=30, base_url=f"http://{simulator.address}:{ADMIN_PORT}/simulator/") as client:
        await client.post("freeze")
        async with reading("kafka:9092", "voucherify.activities") as reader:

            async def complete() -> dict[Name, Expected] | None:
                truth = msgspec.json.decode((await client.post("truth", json={"raw": True})).content, type=Truth)
                there = set(map(name_of, await reader.read()))
                expected = {(one.customer, one.id): one for one in truth.activities if one.topic == "activities"}
                return expected if truth.must and there.issuperset(name for name, one in expected.items() if one.must) else None

            expected = await until(complete, within_seconds=PUBLISHED_SECONDS_MAX)
            counted = Counter(map(name_of, reader.records))
            wrong = [name_of(record) for record in reader.records if differs(record, expected)]
    twice = [name for name, count in counted.items() if count > 1]
    assert not twice, f"published twice: {twice}"
    assert not wrong, f"not as it was sent: {wrong}"
    return f"{len(counted)} activities, 0 lost, 0 twice, each as it was sent"


LIFE: list[tuple[str, Check]] = [
    ("applied again, nothing changes", applied_again),
    ("one poller reads, the other stands by", one_reads),
    ("pods are spread over zones", spread),
    ("each Service has ready endpoints", services_lead_somewhere),
    ("processes run restricted", unprivileged),
    ("the disruption budget covers both pods", protected),
    ("noticed: a disruption budget without selector", budget_without_selector),
    ("evicted: one, and not a second", evicted_once),
    ("a node is drained", node_drained),
    ("a setting is changed: a rolling restart", setting_changed),
    ("scaled to 3 and back", scaled),
    ("a misspelt setting stalls the rollout; rolled back", mistake_undone),
    ("after all of it, the topic holds each activity once", nothing_lost),
]


# ---------------------------------------------------------------------------------------------------------------- production


async def everything(trial: Trial) -> str:
    """The example with all components, and what goes beside it, on a dry run by the server."""
    strictly = ("apply", "--server-side", "--validate=strict", "--dry-run=server")
    examples = trial.manifests / "examples"
    ran = await trial.kubectl.done(*strictly, "-k", str(examples / "everything"))
    beside = [await trial.kubectl.done(*strictly, "-f", str(path)) for path in sorted(examples.glob("*.yaml"))]
    warnings = [line for each in (ran, *beside) for line in each.warnings]
    assert beside, "there is none"
    assert not warnings, warnings
    kinds = {line.partition("/")[0].partition(".")[0] for each in beside for line in each.out.splitlines()}
    return f"{len(ran.out.splitlines())} objects; beside them {', '.join(sorted(kinds))}"


async def waits_for_its_secret(trial: Trial) -> str:
    def waiting() -> list[str]:
        states = [pod.state.get("waiting", {}).get("message", "") for pod in trial.running(PRODUCTION)]
        return states if len(states) == 2 and all("secrets" in state for state in states) else []

    messages = await until(waiting, within_seconds=NOTICED_SECONDS_MAX)
    return str(messages[0])


async def rolled_out_on_trial(trial: Trial) -> str:
    """With the Secret, and above the overlay one that names the Kafka and the API of `dev`: there is no other here."""
    keys = (
        "voucherify-app-id=simulator-app-id",
        "voucherify-app-token=simulator-app-token",
        "kafka-sasl-password=unused",
        "kafka-ca.crt=unused",
    )
    literals = [f"--from-literal={key}" for key in keys]
    await trial.kubectl.done("create", "secret", "generic", NAME, "-n", PRODUCTION, *literals)
    folder = trial.setting("trial", "production", PRODUCTION, **ON_TRIAL)
    alias = {**head("v1", "Service", "kafka"), "spec": {"type": "ExternalName", "externalName": f"kafka.{DEV}.svc.cluster.local"}}
    alias["metadata"]["namespace"] = PRODUCTION
    ran = await trial.kubectl.apply_object(alias)
    assert ran.code == 0, ran.err
    await trial.applied(folder)
    await trial.rolled_out(PRODUCTION)
    zones = zones_of(await trial.settled(PRODUCTION, 2))
    assert len(set(zones)) == 2, f"both pods are in {zones}"
    return f"2 pollers ready in {', '.join(zones)}"


ON_TRIAL = {
    "POLLER_VOUCHERIFY_URL": f"http://simulator.{DEV}.svc:8080",
    "POLLER_KAFKA_BOOTSTRAP_SERVERS": f"kafka.{DEV}.svc:9092",
    "POLLER_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    "POLLER_KAFKA_SASL_MECHANISM": "",
    "POLLER_KAFKA_SASL_USERNAME": "",
    "POLLER_KAFKA_SASL_PASSWORD_FILE": "",
    "POLLER_KAFKA_CA_FILE": "",
    "POLLER_KAFKA_REPLICATION_FACTOR": "1",
    "POLLER_KAFKA_APPLICATION_ID": "on-trial",
    "POLLER_KAFKA_ACTIVITIES_TOPIC": "on-trial",
}

IN_PRODUCTION: list[tuple[str, Check]] = [
    ("without its Secret the pods wait, and say so", waits_for_its_secret),
    ("with it, rolled out on the Kafka and API of dev", rolled_out_on_trial),
    ("each Service has ready endpoints", partial(services_lead_somewhere, namespace=PRODUCTION)),
    ("the examples are taken strictly (dry run)", everything),
]


# ------------------------------------------------------------------------------------------------------------------- the end


async def delete(trial: Trial, overlay: str, namespace: str) -> str:
    await trial.kubectl.done(
        "delete", "-k", str(trial.manifests / "overlays" / overlay), "--ignore-not-found", f"--timeout={GONE_SECONDS_MAX}s"
    )

    async def gone() -> bool:
        return namespace not in {one["metadata"]["name"] for one in await trial.api.items("/api/v1/namespaces")}

    await until(gone, within_seconds=GONE_SECONDS_MAX)
    left = [pod.name for pod in trial.kubelets.pods.values() if pod.object["metadata"]["namespace"] == namespace]
    assert not left, f"these run still: {left}"
    return "namespace and processes are gone"


async def ended_well(trial: Trial) -> str:
    asked = [end for end in trial.ends if end["pod"].startswith(NAME) and end["asked"]]
    starting = [end for end in asked if not end["started"]]
    started = [end for end in asked if end["started"]]
    wrong = [end for end in started if end["killed"] or end["code"] != 0]
    assert started, "none was asked"
    assert not wrong, wrong
    slowest = max(end["seconds"] for end in started)
    killed = sum(end["killed"] for end in starting)
    return f"{len(started)} pollers ended with 0 within {slowest:.1f} s of 45; {len(starting)} more were starting, of which {killed} had to be killed"


def head(version: str, kind: str, name: str = NAME) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


async def refused(trial: Trial, folder: Path, word: str) -> str:
    ran = await trial.kubectl.apply(folder)
    return said(ran.code, ran.err, word)


def said(code: int, message: str, word: str) -> str:
    """What was said, where it was a refusal for this reason."""
    assert code != 0, f"it was taken: {message}"
    assert word in message, f"it was refused for another reason: {message}"
    (line,) = [line for line in message.splitlines() if word in line][:1]
    return cut(line)


def cut(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:159]}…"
