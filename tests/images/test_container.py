"""A real image, run as Kubernetes would: any uid, no capabilities, a read-only root."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import uuid
from pathlib import Path

import httpx
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from images.tooling.bills import bill
from images.tooling.contents import read_contents
from images.tooling.families import load_families
from images.tooling.locks import image_pins
from images.tooling.versions import image_of
from tests.hub.harness import HubProcess, eventually
from tests.ports import free_ports

UID = 23456

pytestmark = pytest.mark.image


@pytest.fixture(scope="session")
def image(request):
    name = request.config.getoption("--image")
    if not name:
        pytest.skip("no image was built: make images-test")
    return name


@pytest.fixture(scope="session")
def labels(image):
    command = ["podman", "image", "inspect", "--format", "{{json .Labels}}", image]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.fixture(scope="session")
def contents(image):
    return read_contents(image)


def pins(environment, python):
    series = ".".join(python.split(".")[:2])
    return {pin.name: pin.version for pin in image_pins(environment, series)}


class Container:
    """One container on the host's network, with a volume and a Secret of its own."""

    def __init__(self, image, directory):
        self.name = f"jhub-tokens-test-{uuid.uuid4().hex[:12]}"
        self.image, self.directory = image, directory
        self.port, self.ssh_port = free_ports(2)
        self.workspace, self.secret = directory / "workspace", directory / "secret"
        for folder in (self.workspace, self.secret):
            folder.mkdir(exist_ok=True)
        os.chown(self.workspace, UID, UID)
        self.key = self.make_key("member")
        self.secret.joinpath("authorized_keys").write_text(Path(f"{self.key}.pub").read_text())

    def make_key(self, name):
        key = self.directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        return key

    def arguments(self, **environment):
        words = ["podman", "--cgroup-manager", "cgroupfs", "run", "--runtime", "runc"]
        words += ["--name", self.name, "--network", "host", "--user", f"{UID}:{UID}"]
        words += ["--passwd=false", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all"]
        words += ["--security-opt", "no-new-privileges"]
        words += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
        words += ["--tmpfs", "/tmp:mode=1777", "--tmpfs", "/run/jhub:mode=0777"]
        words += ["--volume", f"{self.workspace}:/workspace"]
        words += ["--volume", f"{self.secret}:/etc/jhub/ssh:ro"]
        environment = {"JHUB_SSH_PORT": str(self.ssh_port)} | environment
        for name, value in environment.items():
            words += ["--env", f"{name}={value}"]
        return words

    def start(self):
        words = self.arguments(
            JUPYTERHUB_API_TOKEN="a-token",
            JUPYTERHUB_CLIENT_ID="jupyterhub-user-ada",
            JUPYTERHUB_API_URL="http://127.0.0.1:1/hub/api",
            JUPYTERHUB_USER="ada",
            JUPYTERHUB_SERVICE_PREFIX="/user/ada/",
            JUPYTERHUB_SERVICE_URL=f"http://127.0.0.1:{self.port}/user/ada/",
            JUPYTERHUB_BASE_URL="/",
            JUPYTERHUB_OAUTH_CALLBACK_URL="/user/ada/oauth_callback",
        )
        subprocess.run([*words, "--detach", self.image], check=True, stdout=subprocess.DEVNULL)
        eventually(lambda: not self.ssh("true").returncode, "SSH answers", within_s=60)

    def ssh_command(self, *command, user="jovyan", key=None, options=()):
        words = ["ssh", "-F", "none", "-p", str(self.ssh_port), "-o", "BatchMode=yes"]
        words += ["-o", "StrictHostKeyChecking=accept-new", "-o", "IdentitiesOnly=yes"]
        words += ["-o", f"UserKnownHostsFile={self.directory}/known_hosts", *options]
        return [*words, "-i", str(key or self.key), f"{user}@127.0.0.1", *command]

    def ssh(self, *command, **how):
        words = self.ssh_command(*command, **how)
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    def files(self):
        return {path.name for path in self.workspace.iterdir()}

    def logs(self):
        told = subprocess.run(["podman", "logs", self.name], capture_output=True, text=True)
        return told.stdout + told.stderr

    def stop(self):
        subprocess.run(["podman", "stop", "--time", "30", self.name], stdout=subprocess.DEVNULL)
        told = subprocess.run(
            ["podman", "inspect", "--format", "{{.State.ExitCode}}", self.name],
            capture_output=True, text=True,
        )  # fmt: skip
        return int(told.stdout or -1)

    def remove(self):
        subprocess.run(["podman", "rm", "--force", self.name], stdout=subprocess.DEVNULL)


WRAPPER = """\
#!/bin/sh
# What the hub tells a server by its environment goes on into the container, but no host's folder.
unset JUPYTERHUB_ROOT_DIR
set --
for name in $(env | sed -n 's/^\\(JUPYTERHUB_[A-Z_]*\\|JHUB_TOKENS_[A-Z_]*\\)=.*/\\1/p'); do
    set -- "$@" --env "$name"
done
exec {run} "$@" {image} jupyterhub-singleuser
"""


@pytest.fixture(scope="module")
def hub(image, tmp_path_factory):
    """A real hub, for which the container is a member's server."""
    directory = tmp_path_factory.mktemp("hub")
    made = Container(image, tmp_path_factory.mktemp("container"))
    wrapper = directory / "in-container"
    run = shlex.join(made.arguments(FROM_OPERATOR="it's here"))
    wrapper.write_text(WRAPPER.format(run=run, image=image))
    wrapper.chmod(0o755)
    started = HubProcess(directory, after=f"c.Spawner.cmd = [{str(wrapper)!r}]")
    started.container = made
    try:
        started.start()
        started.add_user("pro-1")
        started.start_server("pro-1")
        yield started
    finally:
        started.close()
        made.remove()


@pytest.fixture
def container(hub):
    eventually(lambda: not hub.container.ssh("true").returncode, "SSH answers", within_s=30)
    return hub.container


def test_the_smoke_check_runs_tensorflow(image, labels, contents, tmp_path):
    made = Container(image, tmp_path)
    try:
        ran = subprocess.run(
            [*made.arguments(), image, "jhub-image-smoke"], capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        told = json.loads(ran.stdout.splitlines()[-1])
        assert told["ok"] is True
        assert told["image"] == labels["org.opencontainers.image.version"]
        locked = pins(labels["jhub-tokens.environment"], contents.framework_python)
        assert told["checks"]["tensorflow"]["version"] == locked["tensorflow-cpu"]
        assert told["checks"]["tensorflow"]["add"] == [5.0, 7.0, 9.0]
    finally:
        made.remove()


def test_a_key_opens_a_session_with_the_notebooks_environment(container):
    told = container.ssh(
        'echo "$FROM_OPERATOR"; id -u; command -v python; grep CapEff /proc/self/status'
    )
    assert told.stdout.splitlines()[:3] == ["it's here", str(UID), "/opt/framework/bin/python"]
    assert told.stdout.split()[-1] == "0" * 16


def test_passwords_root_and_other_keys_are_refused(container):
    wrong = container.directory / "wrong"
    if not wrong.exists():
        container.make_key("wrong")
    password = ("-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password")
    for told in (
        container.ssh("true", key=wrong),
        container.ssh("true", user="root"),
        container.ssh("true", options=password),
    ):
        assert told.returncode == 255
        assert "Permission denied (publickey)" in told.stderr


def test_a_changed_secret_holds_from_the_next_login(container):
    keys = container.secret / "authorized_keys"
    before = keys.read_text()
    other = container.make_key("other")
    keys.write_text(Path(f"{other}.pub").read_text())
    try:
        assert container.ssh("true").returncode == 255
        assert container.ssh("true", key=other).returncode == 0
    finally:
        keys.write_text(before)


def test_jupyter_answers_who_the_hub_knows_and_nobody_else(hub, labels):
    path = f"{hub.url}/user/pro-1/api/kernelspecs"
    assert httpx.get(path).status_code == 403
    known = hub.client.get(path)
    assert known.status_code == 200, known.text
    assert [spec["spec"]["display_name"] for spec in known.json()["kernelspecs"].values()] == [
        labels["org.opencontainers.image.title"]
    ]


def test_ssh_sessions_know_the_balance_and_get_the_warnings(hub, container):
    def status():
        told = container.ssh("jhub-tokens status")
        return told.stdout if "Balance" in told.stdout else None

    told = eventually(status, "the balance is known", within_s=30)
    assert "of 300, burning 60 an hour" in told
    words = container.ssh_command("echo begun; exec sleep 60", options=["-tt"])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout.readline().strip() == "begun"
        hub.grant("pro-1", "-272", "adjustment")  # a token is a minute; it warns at 30
        try:
            line = next((line for line in session.stdout if "[jhub-tokens]" in line), "")
        finally:
            session.kill()
    assert "This server stops in 2" in line and "the balance is used up" in line


def test_tensorboard_runs_behind_jupyter(hub):
    def answers():
        return hub.client.get("/user/pro-1/tensorboard/", timeout=90).status_code == 200

    assert httpx.get(f"{hub.url}/user/pro-1/tensorboard/").status_code != 200
    eventually(answers, "TensorBoard answers", within_s=90)


def test_the_root_is_read_only_and_the_image_lacks_what_builders_need(container):
    assert "Read-only" in container.ssh("touch /opt/x").stderr
    assert container.ssh("command -v gcc uv").stdout == ""


def test_the_bill_tells_what_is_installed(image, labels, contents, tmp_path):
    tag = labels["org.opencontainers.image.version"]
    told = json.loads(bill(tag, str(image_of(tag)), load_families(), contents))["components"]
    listed = {"framework": {}, "server": {}}
    for part in told:
        for each in part.get("properties", ()):
            if each["name"] == "jhub-tokens:environment":
                listed[each["value"]][part["name"]] = part["version"]
    made = Container(image, tmp_path)
    found = (
        "import importlib.metadata as m, json, re; print(json.dumps({"
        "re.sub('[-_.]+', '-', d.metadata['Name']).lower(): d.version "
        "for d in m.distributions() if d._path.match('/opt/*/lib/*/site-packages/*')}))"
    )
    try:
        for environment in listed:
            python = f"/opt/{environment}/bin/python"
            words = [*made.arguments(), "--rm", image, python, "-c", found]
            ran = subprocess.run(words, capture_output=True, text=True)
            assert json.loads(ran.stdout) == listed[environment], ran.stderr
        query = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n"]
        ran = subprocess.run([*made.arguments(), image, *query], capture_output=True, text=True)
        debs = [part for part in told if part.get("purl", "").startswith("pkg:deb/")]
        debian = {(part["name"], part["version"]) for part in debs}
        assert debian == {tuple(line.split()) for line in ran.stdout.splitlines()}
        assert "openssh-server" in dict(debian)
    finally:
        made.remove()


SAVER = """\
trap 'sleep 1; echo saved > /workspace/saved-by-'$1'; exit 0' TERM
: > /workspace/begun-by-$1
while :; do sleep 0.1; done
"""


def test_a_stop_lets_trainings_save_and_the_host_key_stays(image, tmp_path):
    made = Container(image, tmp_path)
    ways = {
        "nohup": "nohup bash /workspace/train.sh nohup >/dev/null 2>&1 &",
        "tmux": "tmux new-session -d 'bash /workspace/train.sh tmux'",
        "prompt": "tmux new-session -d; tmux send-keys 'bash /workspace/train.sh prompt' Enter",
        "screen": "SCREENDIR=/tmp/screen screen -d -m bash /workspace/train.sh screen",
    }
    try:
        made.start()
        made.workspace.joinpath("train.sh").write_text(SAVER)
        for command in ways.values():
            told = made.ssh(command)
            assert told.returncode == 0, told.stderr
        begun = {f"begun-by-{way}" for way in ways}
        eventually(lambda: begun <= made.files(), "all trainings have begun", within_s=20)
        assert made.stop() != 137, made.logs()
        assert {f"saved-by-{way}" for way in ways} <= made.files()
        subprocess.run(["podman", "start", made.name], check=True, stdout=subprocess.DEVNULL)
        # known_hosts is the same: another host key would be refused for ever.
        eventually(lambda: made.ssh("echo again").stdout == "again\n", "the same host", within_s=30)
    finally:
        made.remove()


async def execute(hub, code):
    """Run code in a new kernel of the member's server, and leave it to run."""
    kernel = hub.client.post("/user/pro-1/api/kernels", json={"name": "python3"}).json()["id"]
    address = f"{hub.url}/user/pro-1/api/kernels/{kernel}/channels".replace("http:", "ws:")
    request = HTTPRequest(address, headers=dict(hub.client.headers))
    connection = await websocket_connect(request)
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"}
    header |= {"username": "pro-1", "session": uuid.uuid4().hex}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
    content |= {"allow_stdin": False, "stop_on_error": True}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    await connection.write_message(json.dumps(message | {"channel": "shell", "buffers": []}))
    # Once the kernel says that it is busy with it, it does not need us any more.
    while json.loads(str(await connection.read_message()))["msg_type"] != "execute_input":
        pass
    connection.close()


AT_EXIT = """\
import atexit, pathlib
atexit.register(pathlib.Path("saved-at-exit").touch)
pathlib.Path("ready-at-exit").touch()
"""
# As a training loop that writes a checkpoint when it is interrupted; that takes longer than Jupyter
# gives a kernel by default.
TRAINING = """\
import pathlib, time
pathlib.Path("ready-training").touch()
try:
    while True:
        time.sleep(0.1)
finally:
    time.sleep(6)
    pathlib.Path("saved-training").touch()
"""


async def test_a_stop_lets_kernels_save(hub, container):
    """The last test of this hub: its member's server is stopped, as Kubernetes would."""
    for code in (AT_EXIT, TRAINING):
        await execute(hub, code)
    ready = {"ready-at-exit", "ready-training"}
    eventually(lambda: ready <= container.files(), "both kernels run", within_s=60)
    assert container.stop() != 137, container.logs()
    assert {"saved-at-exit", "saved-training"} <= container.files(), container.logs()
