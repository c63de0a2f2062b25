"""The SSH gateway before the whole service: who is let in, where to, and what they are told.

Member and pod are asyncssh, too: a client that jumps, and an sshd at the pod's address.
"""

import asyncio
import dataclasses
import json
from functools import partial

import asyncssh
import pytest

from jhub_tokens.gateway.server import running_gateway
from jhub_tokens.gateway.settings import GatewaySettings
from jhub_tokens.service.access import server_access
from tests.ports import free_port
from tests.service.conftest import PREFIX, identity
from tests.service.test_ssh_keys_api import KEYS, person

from .conftest import until
from .fake_api import pod

TOKEN = "the-token-of-service-and-gateway"
ADDRESS = "127.0.0.1"


@pytest.fixture
def pod_port():
    return free_port()


@pytest.fixture
def settings(settings, cluster_settings, pod_port):
    return dataclasses.replace(
        settings,
        cluster=dataclasses.replace(cluster_settings, availability=False),
        ssh="gateway:ssh.example.org:22",
        ssh_pod_port=pod_port,
        gateway_token=TOKEN,
    )


@pytest.fixture
async def observer(running, fake):
    observer = running.service.cluster
    await until(lambda: fake.watching == 1 and observer.pods.lists)
    return observer


@pytest.fixture
def host_key(tmp_path):
    path = tmp_path / "host_key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    return path


@pytest.fixture
def gateway_settings(running, host_key):
    return GatewaySettings(
        service_url=f"http://127.0.0.1:{running.port}{PREFIX}",
        token=TOKEN,
        host_key=host_key,
        listen_host=ADDRESS,
        listen_port=0,
    )


@pytest.fixture
async def gateway(gateway_settings):
    async with running_gateway(gateway_settings) as port:
        yield port


@pytest.fixture
async def pod_sshd(pod_port, host_key, mine):
    """What listens in the pod: it, too, asks for the member's key."""

    async def shell(process):
        process.stdout.write(f"in as {process.get_extra_info('username')}\n")
        process.exit(0)

    keys = asyncssh.import_authorized_keys(line_of(mine))
    async with asyncssh.listen(
        ADDRESS,
        pod_port,
        server_host_keys=[host_key],
        authorized_client_keys=keys,
        process_factory=shell,
    ):
        yield


@pytest.fixture
def mine():
    return asyncssh.generate_private_key("ssh-ed25519")


def line_of(key):
    return key.export_public_key("openssh").decode().strip()


def connect(port, *keys, **options):
    """Come to the gateway as a client does, with keys that it tries in turn."""
    return asyncssh.connect(
        ADDRESS, port, username="jump", client_keys=list(keys), known_hosts=None, agent_path=None,
        config=None, **options,
    )  # fmt: skip


def through(way, key, host):
    """Go on to a server, as ``ssh -J`` does."""
    return way.connect_ssh(
        host, username="jovyan", client_keys=[key], known_hosts=None, agent_path=None, config=None
    )


async def running_server(story, fake, user, server_name=""):
    """A server, and its pod at an address that this test answers at."""
    admission = await story.run(user, "cpu", server_name)
    raw = pod(f"jupyter-{user.name}{server_name}", session=admission["session_id"])
    raw["status"]["podIP"] = ADDRESS
    await fake.put("pods", raw)
    return admission, raw


async def add_key(api, hub, story, user, key):
    await story.join(user)
    answer = await person(api, hub, user).post(KEYS, {"key": line_of(key), "name": "laptop"})
    assert answer.status_code == 201, answer.text
    return answer.json()["key_id"]


async def test_a_member_gets_into_their_server_and_nobody_else(
    story, api, hub, ada, grace, fake, observer, gateway, pod_sshd, mine, settings
):
    key_id = await add_key(api, hub, story, ada, mine)
    _, raw = await running_server(story, fake, ada)
    await until(lambda: raw["metadata"]["uid"] in observer.pods.items)
    shown = server_access(settings, "ada", "").ssh_command
    assert shown == "ssh -J jump@ssh.example.org jovyan@jupyter-ada"

    async with connect(gateway, mine) as way, through(way, mine, "jupyter-ada") as inside:
        assert (await inside.run("hello")).stdout == "in as jovyan\n"

    # Another member's key opens the gateway, but not this way.
    others = asyncssh.generate_private_key("ssh-ed25519")
    await add_key(api, hub, story, grace, others)
    async with connect(gateway, others) as way:
        with pytest.raises(
            asyncssh.ChannelOpenError, match=r"No server of yours called .*ada runs"
        ):
            await way.open_connection("jupyter-ada", 22)
    # A key of nobody's opens nothing, and neither does one that was removed.
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(gateway, asyncssh.generate_private_key("ssh-ed25519"))
    async with connect(gateway, mine) as way:
        await person(api, hub, ada).post(f"{KEYS}/{key_id}/removal", {})
        with pytest.raises(asyncssh.ChannelOpenError, match="This key opens nobody's servers"):
            await way.open_connection("jupyter-ada", 22)
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(gateway, mine)


async def test_nothing_but_servers_is_reached(
    story, api, hub, ada, fake, observer, gateway, mine, pod_port
):
    await add_key(api, hub, story, ada, mine)
    async with connect(gateway, mine) as way:
        with pytest.raises(asyncssh.ChannelOpenError, match="Start it first: .*access"):
            await way.open_connection("jupyter-ada", 22)
        await running_server(story, fake, ada)
        for host, port in ((ADDRESS, 22), ("localhost", 22), ("169.254.169.254", 22)):
            with pytest.raises(asyncssh.ChannelOpenError, match="These run: jupyter-ada"):
                await way.open_connection(host, port)
        with pytest.raises(asyncssh.ChannelOpenError, match="255 characters"):
            await way.open_connection("x" * 256, 22)
        with pytest.raises(asyncssh.ChannelOpenError, match="Only SSH is reached"):
            await way.open_connection("jupyter-ada", pod_port)
        done = await way.run("cat /etc/passwd")
        assert done.exit_status == 1 and "no shell here" in done.stderr and not done.stdout
        for forbidden in (
            way.start_sftp_client,
            partial(way.forward_remote_port, "", 0, ADDRESS, pod_port),
            partial(way.open_unix_connection, "/run/docker.sock"),
        ):
            with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError)):
                await forbidden()


async def test_a_key_that_is_offered_and_not_proven_opens_nothing(
    story, api, hub, ada, grace, fake, observer, gateway, pod_sshd, mine
):
    await add_key(api, hub, story, ada, mine)
    _, raw = await running_server(story, fake, ada)
    await until(lambda: raw["metadata"]["uid"] in observer.pods.items)
    others = asyncssh.generate_private_key("ssh-ed25519")
    await add_key(api, hub, story, grace, others)
    # Grace shows ada's public key, and signs with her own.
    (forged,) = asyncssh.load_keypairs([others])
    forged.public_data = mine.public_data
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(gateway, forged)
    async with connect(gateway, forged, others) as way:
        with pytest.raises(asyncssh.ChannelOpenError, match="No server of yours"):
            await way.open_connection("jupyter-ada", 22)


async def test_a_pod_without_sshd_is_told_of_without_its_address(
    story, api, hub, ada, fake, observer, gateway, mine, pod_port, capsys
):
    await add_key(api, hub, story, ada, mine)
    _, raw = await running_server(story, fake, ada)
    await until(lambda: raw["metadata"]["uid"] in observer.pods.items)
    async with connect(gateway, mine) as way:
        with pytest.raises(asyncssh.ChannelOpenError, match="does not answer") as told:
            await way.open_connection("jupyter-ada", 22)
    assert ADDRESS not in told.value.reason and str(pod_port) not in told.value.reason
    assert f"{ADDRESS}:{pod_port}" in capsys.readouterr().out, "the operator is told"


async def test_named_servers_and_pods_that_come_late(
    story, api, hub, grace, fake, observer, gateway, pod_sshd, mine
):
    await add_key(api, hub, story, grace, mine)
    admission = await story.run(grace, "cpu", "two")
    async with connect(gateway, mine) as way:
        with pytest.raises(asyncssh.ChannelOpenError, match="no address yet"):
            await way.open_connection("jupyter-grace-two", 22)
        raw = pod("jupyter-grace--two", session=admission["session_id"])
        raw["status"]["podIP"] = ADDRESS
        await fake.put("pods", raw)
        await until(lambda: raw["metadata"]["uid"] in observer.pods.items)
        reader, _ = await way.open_connection("jupyter-grace-two", 22)
        assert (await reader.readline()).startswith(b"SSH-2.0-")


async def test_an_old_address_is_another_pods_already(
    story, api, hub, ada, fake, observer, gateway, pod_sshd, mine, clock
):
    await add_key(api, hub, story, ada, mine)
    _, raw = await running_server(story, fake, ada)
    await until(lambda: raw["metadata"]["uid"] in observer.pods.items)
    fake.refusals["/api/v1/namespaces/hub/pods"] = 503
    await fake.end_watches("drop")
    clock.advance_ms(3_600_000)
    async with connect(gateway, mine) as way:
        with pytest.raises(asyncssh.ChannelOpenError, match="token service does not answer"):
            await way.open_connection("jupyter-ada", 22)


async def test_a_service_that_is_away_is_no_wrong_key(gateway_settings, mine):
    away = dataclasses.replace(gateway_settings, service_url="http://127.0.0.1:1/services/tokens/")
    stranger = dataclasses.replace(gateway_settings, token="a-token-that-the-service-does-not-know")
    for settings in (away, stranger):
        async with running_gateway(settings) as port:
            with pytest.raises(asyncssh.DisconnectError, match="token service does not answer"):
                await connect(port, mine)


async def test_there_is_an_end_to_connections(gateway_settings, story, api, hub, ada, mine):
    await add_key(api, hub, story, ada, mine)
    full = dataclasses.replace(gateway_settings, connections_max=1)
    async with running_gateway(full) as port:
        async with connect(port, mine):
            with pytest.raises((asyncssh.Error, ConnectionError)):
                await connect(port, mine)

        async def room():
            try:
                async with connect(port, mine):
                    return True
            except (asyncssh.Error, ConnectionError):
                return False

        await until(room)


async def test_told_to_stop_it_waits_for_those_there_are(
    gateway_settings, story, api, hub, ada, mine, fake, observer, pod_sshd
):
    await add_key(api, hub, story, ada, mine)
    _, raw = await running_server(story, fake, ada)
    await until(lambda: raw["metadata"]["uid"] in observer.pods.items)
    running = running_gateway(dataclasses.replace(gateway_settings, drain_s=60))
    port = await running.__aenter__()
    async with connect(port, mine) as way:
        ending = asyncio.create_task(running.__aexit__(None, None, None))

        async def closed():
            try:
                async with connect(port, mine):
                    return False
            except ConnectionError:
                return True

        await until(closed)
        async with through(way, mine, "jupyter-ada") as inside:
            assert (await inside.run("hello")).stdout == "in as jovyan\n"
        assert not ending.done()
    await ending


async def test_who_stays_too_long_is_told_why_the_connection_ends(gateway_settings, story, api,
                                                                  hub, ada, mine):  # fmt: skip
    await add_key(api, hub, story, ada, mine)
    lost = []

    class Told(asyncssh.SSHClient):
        def connection_lost(self, exc):
            lost.append(exc)

    async with running_gateway(gateway_settings) as port:
        way = await connect(port, mine, client_factory=Told)
    await way.wait_closed()
    assert "gateway is being replaced" in str(lost[0])


async def test_the_hub_side_has_no_way_in(api, hub_side, story, ada):
    await story.join(ada)
    for path in ("sign-ins", "ways"):
        for caller, status in ((hub_side, 403), (api(), 401), (api("made-up"), 403)):
            answer = await caller.post(f"api/v1/gateway/{path}", {"key": "x", "host": "y"})
            assert answer.status_code == status
    gateway = api(TOKEN)
    answer = await gateway.post("api/v1/hub/overview", {"member": identity(ada)})
    assert answer.status_code == 403
    answer = await gateway.post("api/v1/gateway/sign-ins", {"key": "-----BEGIN RSA PRIVATE"})
    assert (answer.status_code, json.loads(answer.text)["code"]) == (404, "unknown_key")
