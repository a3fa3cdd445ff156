"""All checks of our own, by name. They work on what kustomize has made of the manifests, and need nothing installed."""

from collections.abc import Iterator, Mapping

from tests.deploy import network, pods, reach, selectors, settings
from tests.deploy.manifests import Check, Manifests


def grace_outlasts_the_drain(manifests: Manifests) -> Iterator[str]:
    yield from pods.grace_outlasts_the_drain(manifests, settings.drain_seconds(manifests))


CHECKS: Mapping[str, Check] = {
    "selectors select the pods that they are meant for": selectors.select_the_pods_they_are_meant_for,
    "workloads select their own pods": selectors.workloads_select_their_own_pods,
    "peers of policies are named": selectors.peers_are_named,
    "replicas have a PodDisruptionBudget": selectors.replicas_have_a_budget,
    "a node can be drained": selectors.a_node_can_be_drained,
    "replicas are spread": selectors.replicas_are_spread,
    "settings exist": settings.settings_exist,
    "settings can be used": settings.settings_can_be_used,
    "secrets are files": settings.secrets_are_files,
    "secrets are for the pod alone": settings.secrets_are_for_the_pod_alone,
    "mounts are renewed": settings.mounts_are_renewed,
    "commands exist": pods.commands_exist,
    "probes ask what answers": pods.probes_ask_what_answers,
    "the poller has its probes": pods.the_poller_has_its_probes,
    "probes are patient": pods.probes_are_patient,
    "grace outlasts the drain": grace_outlasts_the_drain,
    "pods are restricted": pods.pods_are_restricted,
    "nobody talks to Kubernetes": pods.nobody_talks_to_kubernetes,
    "resources are set": pods.resources_are_set,
    "images are pinned": pods.images_are_pinned,
    "what is mounted is there": pods.what_is_mounted_is_there,
    "a rollout takes nobody away": pods.a_rollout_takes_nobody_away,
    "names are told apart": pods.names_are_told_apart,
    "ports are there": network.ports_are_there,
    "ports are those of the settings": network.ports_are_those_of_the_settings,
    "pods are closed": network.pods_are_closed,
    "services stay inside": network.services_stay_inside,
    "what is called is allowed, and nothing else": reach.what_is_called_is_allowed_and_nothing_else,
    "private addresses stay out": reach.private_addresses_stay_out,
    "ports are open to their callers alone": reach.ports_are_open_to_their_callers_alone,
}


def findings(manifests: Manifests) -> dict[str, list[str]]:
    """What each check finds; those that find nothing are left out."""
    found = {name: list(check(manifests)) for name, check in CHECKS.items()}
    return {name: lines for name, lines in found.items() if lines}
