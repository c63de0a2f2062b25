"""A member's claim outlives everything but an administrator's own act."""

from __future__ import annotations

from tests.hub.harness import eventually
from tests.kubernetes.harness import GONE_S, KubernetesHub


def test_deleting_a_hub_user_keeps_the_claim(hub: KubernetesHub) -> None:
    before = {claim["metadata"]["name"] for claim in hub.namespace.items("persistentvolumeclaims")}
    hub.add_user("leaves")
    hub.start_server("leaves")
    [volume] = hub.claims_of("leaves")
    assert volume not in before

    def deleted() -> bool:
        response = hub.api("DELETE", "users/leaves")
        # A pod that takes its time: the hub stops it first, and says so for as long.
        assert response.status_code == 204 or "stopping" in response.text, response.text
        return response.status_code == 204

    eventually(deleted, "the hub deletes its user", within_s=GONE_S, every_s=1)
    hub.wait_no_pod("leaves")
    claim = hub.namespace.get("persistentvolumeclaims", volume)
    assert "deletionTimestamp" not in claim["metadata"]
    assert claim["status"]["phase"] == "Bound"


def test_all_servers_of_a_member_share_one_claim(hub: KubernetesHub) -> None:
    hub.add_user("several")
    hub.start_server("several")
    [volume] = hub.claims_of("several")
    hub.start_server("several", "second")
    assert hub.claims_of("several", "second") == [volume]
    hub.stop_server("several", "second")
    hub.stop_server("several")
    assert hub.namespace.find("persistentvolumeclaims", volume)
