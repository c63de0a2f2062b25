"""SSH keys over the API: members add and remove their own; the hub side is told which hold."""

from __future__ import annotations

from jhub_tokens.ssh_keys import keys_digest
from tests.ledger.test_ssh_keys import new_key
from tests.service.conftest import identity

KEY = new_key()
KEYS = "api/v1/members/me/ssh-keys"


def person(api, hub, user):
    """Return a client with all of a hub user's own rights."""
    own = (f"tokens!user={user.name}", f"custom:jhub-tokens:read!user={user.name}")
    return api(hub.add_token(user, *own, *(["admin:users"] if user.admin else [])))


async def held(hub_side, user):
    answer = await hub_side.post("api/v1/hub/ssh-keys", {"member": identity(user)})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["digest"] == keys_digest(told["authorized_keys"])
    return told


async def test_a_key_reaches_the_server_and_leaves_it(story, api, hub, hub_side, ada) -> None:
    await story.join(ada)
    mine = person(api, hub, ada)
    none = await held(hub_side, ada)
    assert none["authorized_keys"] == []
    answer = await mine.post(KEYS, {"key": f"{KEY.line} ada@laptop"})
    assert answer.status_code == 201, answer.text
    added = answer.json()
    assert (added["name"], added["fingerprint"]) == ("ada@laptop", KEY.fingerprint)
    assert (await mine.get(KEYS)).json() == {"keys": [added]}
    told = await held(hub_side, ada)
    assert told["authorized_keys"] == [KEY.line]

    admission = await story.run(ada, "cpu")
    assert admission["authorized_keys"] == [KEY.line]
    (known,) = (await story.snapshot())["sessions"]
    assert known["keys_digest"] == told["digest"]

    answer = await mine.post(f"{KEYS}/{added['key_id']}/removal", {})
    assert answer.status_code == 200 and answer.json()["removed_at_ms"], answer.text
    (known,) = (await story.snapshot())["sessions"]
    assert known["keys_digest"] == none["digest"], "the agent sees that they differ"
    assert (await mine.get(KEYS)).json() == {"keys": []}


async def test_what_is_no_good_key_is_refused_with_a_remedy(story, api, hub, ada) -> None:
    await story.join(ada)
    mine = person(api, hub, ada)
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----"
    answer = await mine.post(KEYS, {"key": secret})
    assert (answer.status_code, answer.json()["code"]) == (422, "private_key")
    assert "c2VjcmV0" not in answer.text
    body = (await mine.post(KEYS, {"key": KEY.line[:-8]})).json()
    assert (body["code"], body["field"]) == ("bad_key", "key") and body["remedy"]
    body = (await mine.post(KEYS, {"key": KEY.line, "name": "bell\a"})).json()
    assert body["field"] == "name"
    await mine.post(KEYS, {"key": KEY.line, "name": "one"})
    answer = await mine.post(KEYS, {"key": KEY.line, "name": "two"})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_known")
    answer = await mine.post(f"{KEYS}/nothing/removal", {})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_key")


async def test_only_members_themselves_say_who_may_come_in(
    story, api, hub, ada, grace, admin
) -> None:
    ada_id = await story.join(ada)
    await story.join(grace)
    await person(api, hub, ada).post(KEYS, {"key": KEY.line, "name": "laptop"})
    path = f"api/v1/members/{ada_id}/ssh-keys"
    others = person(api, hub, grace)
    assert (await others.get(path)).status_code == 403
    assert (await others.post(path, {"key": KEY.line})).status_code == 403
    support = person(api, hub, admin)
    (key,) = (await support.get(path)).json()["keys"]
    assert key["name"] == "laptop", "whoever reads all may see which keys there are"
    assert (await support.post(path, {"key": KEY.line})).status_code == 403
    assert (await support.post(f"{path}/{key['key_id']}/removal", {})).status_code == 403
    reader = api(hub.add_token(ada, "custom:jhub-tokens:read!user=ada"))
    assert (await reader.get(path)).status_code == 200
    assert (await reader.post(path, {"key": KEY.line})).status_code == 403
    assert (await api().get(path)).status_code == 401
    hub_path = "api/v1/hub/ssh-keys"
    assert (await others.post(hub_path, {"member": identity(ada)})).status_code in (401, 403)
