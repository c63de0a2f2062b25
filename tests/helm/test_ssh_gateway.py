"""The SSH gateway of our chart: it starts as rendered, and reaches no more than it must."""

from __future__ import annotations

import argparse
import base64
from pathlib import Path
from typing import Any

import asyncssh
import helm_python as helm
import pytest

from jhub_tokens.gateway.settings import gateway_settings_from
from jhub_tokens.service.ssh_settings import gateway_token_from, ssh_settings_from
from tests.helm.layers import of_kind, rendered, tokens_values

NAME = "jhub-tokens-ssh-gateway"


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return rendered(tokens_values("company"))


def environment(objects: list[dict[str, Any]], deployment: str) -> dict[str, str]:
    """Return what a pod of ours is told, as the cluster fills it in."""
    (found,) = of_kind(objects, "Deployment", deployment)
    (secret,) = of_kind(objects, "Secret")
    env = {}
    for each in found["spec"]["template"]["spec"]["containers"][0]["env"]:
        source = each.get("valueFrom", {}).get("secretKeyRef", {})
        if source.get("name") == secret["metadata"]["name"]:
            env[each["name"]] = base64.b64decode(secret["data"][source["key"]]).decode()
        elif "value" in each:
            env[each["name"]] = each["value"]
    return env


def test_service_and_gateway_take_what_the_chart_tells_them(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    (secret,) = of_kind(objects, "Secret")
    key = tmp_path / "ssh-host-key"
    key.write_bytes(base64.b64decode(secret["data"]["ssh-host-key"]))
    assert asyncssh.read_private_key(key).get_algorithm() == "ecdsa-sha2-nistp256"

    told = environment(objects, NAME)
    (mount,) = of_kind(objects, "Deployment", NAME)[0]["spec"]["template"]["spec"]["volumes"][:1]
    assert told["JHUB_TOKENS_GATEWAY_HOST_KEY"] == (
        f"/etc/ssh-gateway/{mount['secret']['items'][0]['path']}"
    )
    told["JHUB_TOKENS_GATEWAY_HOST_KEY"] = str(key)
    nothing = argparse.Namespace(service=None, listen=None, host_key=None)
    gateway = gateway_settings_from(nothing, told)
    assert gateway.service_url == "http://jhub-tokens:10150/services/tokens/"
    assert (gateway.listen_port, gateway.drain_s) == (2222, 600)

    service = environment(objects, "jhub-tokens")
    ssh, _user = ssh_settings_from(service)
    assert ssh == "gateway:ssh.gpu.example.com:22"
    assert gateway_token_from(service, ssh, sees_pods=True) == gateway.token


def test_it_reaches_names_the_service_and_servers_sshd_and_they_admit_it(
    objects: list[dict[str, Any]],
) -> None:
    (deployment,) = of_kind(objects, "Deployment", NAME)
    wears = deployment["spec"]["template"]["metadata"]["labels"]
    (own,) = of_kind(objects, "NetworkPolicy", NAME)
    assert own["spec"]["podSelector"]["matchLabels"].items() <= wears.items()
    assert own["spec"]["policyTypes"] == ["Ingress", "Egress"]
    names, service, servers = own["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    (serves,) = of_kind(objects, "Deployment", "jhub-tokens")
    (to,) = service["to"]
    labels = serves["spec"]["template"]["metadata"]["labels"]
    assert to["podSelector"]["matchLabels"].items() <= labels.items()
    assert servers == {
        "ports": [{"port": 2222}],
        "to": [{"podSelector": {"matchLabels": {"component": "singleuser-server"}}}],
    }
    (admits,) = of_kind(objects, "NetworkPolicy", f"{NAME}-to-servers")
    assert admits["spec"]["podSelector"] == servers["to"][0]["podSelector"]
    for policy, port in ((admits, 2222), *((p, "http") for p in of_kind(
        objects, "NetworkPolicy", "jhub-tokens"))):  # fmt: skip
        sources = [
            source["podSelector"]["matchLabels"]
            for rule in policy["spec"]["ingress"]
            for source in rule["from"]
            if rule["ports"] == [{"port": port}] and "podSelector" in source
        ]
        assert any(
            "app.kubernetes.io/component" in source and source.items() <= wears.items()
            for source in sources
        ), policy["metadata"]["name"]


def test_members_come_to_its_pods_and_to_no_others(objects: list[dict[str, Any]]) -> None:
    (service,) = of_kind(objects, "Service", NAME)
    (deployment,) = of_kind(objects, "Deployment", NAME)
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["type"] == "LoadBalancer"
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (22, "ssh")
    (other,) = of_kind(objects, "Deployment", "jhub-tokens")
    theirs = other["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= theirs.items()
    # What is open may end by itself before the pod is killed.
    assert pod["spec"]["terminationGracePeriodSeconds"] > 600


def test_of_a_nodeport_members_type_the_node_s() -> None:
    values = tokens_values("company")
    values["sshGateway"] |= {"port": 30022, "service": {"type": "NodePort"}}
    objects = rendered(values)
    (service,) = of_kind(objects, "Service", NAME)
    assert service["spec"]["ports"][0]["nodePort"] == 30022
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    told = environment(objects, "jhub-tokens")["JHUB_TOKENS_SSH"]
    assert told == "gateway:ssh.gpu.example.com:30022"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"cluster": {"observe": False, "snapshots": {"days": 0}}}, r"needs cluster\.observe"),
        ({"sshGateway": {"enabled": True}}, r"sshGateway\.host: the name that members type"),
        ({"sshGateway": {"enabled": True, "host": "ssh.example.org:22"}}, "host"),
        ({"sshGateway": {"enabled": True, "hostname": "ssh.example.org"}}, "hostname"),
    ],
)
def test_what_could_not_work_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(helm.HelmError, match=says):
        rendered(tokens_values("company") | changed)


def test_without_it_nothing_of_it_is_there() -> None:
    values = tokens_values("company") | {"sshGateway": {"enabled": False}}
    objects = rendered(values)
    assert not [each for each in objects if "gateway" in each["metadata"]["name"]]
    (secret,) = of_kind(objects, "Secret")
    assert set(secret["data"]) == {"service-token", "cookie-secret"}
    assert environment(objects, "jhub-tokens")["JHUB_TOKENS_SSH"] == "tunnel"
