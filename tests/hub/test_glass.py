"""Acts, the journal and the hub's part of break-glass, with a clock that moves when told to."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jhub_tokens import i18n, wire
from jhub_tokens.clock import ManualClock
from jhub_tokens.hub.acts import MINUTE_MS, ActError, ActFiles
from jhub_tokens.hub.glass import BreakGlass
from jhub_tokens.hub.journal import Journal
from jhub_tokens.hub.let_through import Wanted
from jhub_tokens.hub.private_files import UntrustedFile

NOW_MS = 1_793_487_600_000
MEMBER = wire.Identity(hub_user_id=1, created="2026", name="ada", groups=["physics"])


def hardware(gpus: int = 0) -> wire.HardwareModel:
    models = ["T4", "A100"] if gpus else []
    return wire.HardwareModel(cpu=1, memory_bytes=1, gpus=gpus, gpu_models=models, text="")


CATALOGUE = wire.HubCatalogue(
    default_profiles=["cpu"],
    profiles=[
        wire.KnownProfile(
            profile="cpu", title="CPU", rate_mtok_h=1000, rate="1", hardware=hardware(),
            images=[
                wire.KnownImage(tag="old", title="Old", lifecycle="retiring", until="2026-10-31"),
                wire.KnownImage(tag="py", title="Py", lifecycle="maintained", reference="r/py:1"),
            ],
            environment={"FROM": "profile"}, max_run_ms=3_600_000,
            others={"zh": {"title": "处理器"}},
        ),
        wire.KnownProfile(
            profile="gpu", title="GPU", rate_mtok_h=9000, rate="9", hardware=hardware(1)
        ),
    ],
    teams=[
        wire.KnownTeam(team="lab", title="Lab", group="physics"),
        wire.KnownTeam(team="other", title="Other", group="chemistry"),
    ],
    frozen=[wire.FrozenMember(hub_user_id=2, created="2026")],
)  # fmt: skip


class Client:
    """Takes in reports as the service does, or is away."""

    def __init__(self) -> None:
        self.reports: list[wire.BreakGlassReport] = []

    async def catalogue(self) -> wire.HubCatalogue:
        return CATALOGUE

    async def break_glass(self, report: wire.BreakGlassReport) -> wire.BreakGlassReceipt:
        self.reports.append(report)
        return wire.BreakGlassReceipt(
            acts=[act.act_id for act in report.acts],
            starts=[start.start_key for start in report.starts],
        )


class World:
    """A state directory, a clock, and hub processes one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(NOW_MS)
        self.files = ActFiles(directory)
        self.client: Any = Client()
        self.keys = 0
        self.restart()

    def restart(self) -> None:
        self.glass = BreakGlass(self.directory, now_ms=self.clock.now_ms)
        self.glass.load()

    def open(self, minutes: int = 60, **options: Any) -> None:
        now_ms = self.clock.now_ms()
        until_ms = now_ms + minutes * MINUTE_MS
        self.files.open(now_ms=now_ms, until_ms=until_ms, actor="op", reason="a class", **options)

    async def start(
        self, profile: str = "cpu", *, member: wire.Identity = MEMBER, **choice: Any
    ) -> wire.Admission | wire.Refusal | None:
        await self.glass.keep_catalogue(self.client)
        self.keys += 1
        options = {"image": None, "gpu_model": None, "payer": None, "max_run_ms": None, **choice}
        key = f"start-{self.keys:04}"
        return await self.glass.let_through(Wanted(profile, **options), member, "", key)

    async def tell(self) -> wire.BreakGlassReport | None:
        before = len(self.client.reports)
        await self.glass.tell(self.client, None)
        return self.client.reports[-1] if len(self.client.reports) > before else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    tmp_path.chmod(0o700)
    return World(tmp_path)


async def test_nothing_goes_through_before_it_is_opened_and_after_its_time(world: World) -> None:
    assert await world.start() is None
    world.open(60)
    admission = await world.start()
    assert isinstance(admission, wire.Admission)
    assert (admission.rate_mtok_h, admission.image_reference) == (1000, "r/py:1")
    assert admission.environment == {"FROM": "profile"}
    world.clock.advance_ms(60 * MINUTE_MS)
    assert await world.start() is None
    assert world.glass.act is None


async def test_ended_early(world: World) -> None:
    world.open()
    world.files.end(now_ms=world.clock.now_ms(), actor="op")
    assert await world.start() is None
    with pytest.raises(ActError, match="nothing is open"):
        world.files.end(now_ms=world.clock.now_ms(), actor="op")


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        ({"profile": "gpu"}, "plan"),
        ({"profile": "nope"}, "unknown_profile"),
        ({"image": "old"}, "unknown_image"),
        ({"gpu_model": "T4"}, "bad_choice"),
        ({"max_run_ms": 7_200_000}, "bad_choice"),
        ({"payer": "nope"}, "unknown_team"),
        ({"payer": "other"}, "not_in_team"),
        ({"member": MEMBER.model_copy(update={"hub_user_id": 2})}, "frozen"),
    ],
)
async def test_what_was_not_on_offer_does_not_go_through(
    world: World, choice: dict[str, Any], code: str
) -> None:
    world.open()
    answer = await world.start(**choice)
    assert isinstance(answer, wire.Refusal) and answer.code == code


async def test_a_refusal_is_in_the_reader_s_language_without_the_service(world: World) -> None:
    world.open()
    with i18n.speaking("zh"):
        answer = await world.start("gpu")
        assert [profile.title for profile in world.glass.profiles()] == ["处理器"]
        assert isinstance(answer, wire.Refusal)
        assert answer.message == "在无法核查余额期间，可以启动：处理器。"
        assert answer.remedy == "请在余额可以核查后重试，或联系此 Hub 的运营者。"
    answer = await world.start("gpu")
    assert isinstance(answer, wire.Refusal)
    assert answer.message == "While balances cannot be checked, this can be started: CPU."


async def test_an_operator_names_the_profiles(world: World) -> None:
    world.open(profiles=["gpu"])
    admission = await world.start("gpu", payer="lab")
    assert isinstance(admission, wire.Admission) and admission.gpu_model == "T4"
    report = await world.tell()
    assert report is not None and report.starts[0].payer == "lab" and report.starts[0].gpus == 1


async def test_caps_hold_for_starts_at_once(world: World) -> None:
    world.open(servers_max=3)
    members = [MEMBER.model_copy(update={"hub_user_id": 10 + n}) for n in range(4)]
    await world.start("nope")  # the catalogue is known from here on
    wanted = [world.start(member=member) for member in [*members, members[0]]]
    answers = await asyncio.gather(*wanted)
    assert sum(isinstance(answer, wire.Admission) for answer in answers) == 3
    assert sum(isinstance(a, wire.Refusal) and a.code == "limit" for a in answers) == 2
    world.glass.ended("start-0002", "stopped", ago_ms=0)
    assert isinstance(await world.start(member=members[3]), wire.Admission)


async def test_a_run_is_told_with_true_ages_over_a_restart_until_its_end_is_booked(
    world: World,
) -> None:
    world.open()
    await world.start()
    world.clock.advance_ms(20_000)
    world.glass.ready("start-0001")
    world.clock.advance_ms(MINUTE_MS)
    world.glass.alive(["start-0001"])
    await world.glass.look()  # what was to be written is written
    world.clock.advance_ms(MINUTE_MS)
    world.restart()
    assert world.glass.is_untold("start-0001")
    report = await world.tell()
    assert report is not None
    [told] = report.starts
    assert (told.started_age_ms, told.ready_age_ms, told.alive_age_ms, told.ended_age_ms) == (
        140_000, 120_000, 60_000, None,
    )  # fmt: skip
    assert not world.glass.is_untold("start-0001")
    assert await world.tell() is None  # nothing new
    world.glass.ended("start-0001", "stopped", ago_ms=5_000)
    await world.glass.look()
    world.clock.advance_ms(10_000)
    world.restart()
    report = await world.tell()
    assert report is not None and report.starts[0].ended_age_ms == 15_000
    assert await world.tell() is None
    assert world.glass.entry("start-0001") is None


async def test_what_died_with_the_hub_ended_at_its_last_proof_of_life(world: World) -> None:
    world.open()
    await world.start()
    world.glass.ready("start-0001")
    world.clock.advance_ms(MINUTE_MS)
    world.glass.alive(["start-0001"])
    await world.glass.look()
    world.clock.advance_ms(MINUTE_MS)
    world.restart()
    world.glass.end_all_but(set())
    report = await world.tell()
    assert report is not None
    assert (report.starts[0].reason, report.starts[0].ended_age_ms) == ("lost", MINUTE_MS)


async def test_an_act_is_told_when_opened_and_when_over_and_then_removed(world: World) -> None:
    world.open()
    assert await world.tell() is not None
    assert await world.tell() is None
    world.clock.advance_ms(MINUTE_MS)
    world.files.end(now_ms=world.clock.now_ms(), actor="other")
    report = await world.tell()
    assert report is not None
    assert (report.acts[0].ended_age_ms, report.acts[0].ended_by) == (0, "other")
    assert world.files.read() == ([], [])


async def test_an_end_that_a_cut_line_hides_is_not_made_up(world: World) -> None:
    world.open()
    await world.start()
    path = world.files.directory / "runs.jsonl"
    with path.open("ab") as file:
        file.write(b'{"what": "change", "start_')  # the power went
    world.restart()
    assert world.glass.is_untold("start-0001")
    world.glass.ready("start-0001")
    await world.glass.look()
    world.restart()
    entry = world.glass.entry("start-0001")
    assert entry is not None and entry.ready_ms == NOW_MS


async def test_a_start_that_cannot_be_recorded_does_not_go_through(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Journal, lines: Any) -> None:
        raise OSError("No space left on device")

    world.open()
    monkeypatch.setattr(Journal, "append", full)
    assert await world.start() is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o620),
        lambda path: path.chmod(0o602),
        lambda path: path.parent.chmod(0o777),
        lambda path: path.write_text(path.read_text().replace("a class", "whatever")),
        lambda path: path.write_text("[]"),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: (path.rename(path.with_suffix(".x")), path.symlink_to(path.with_suffix(".x"))),
        lambda path: os.chown(path, 12345, -1) if os.geteuid() == 0 else path.chmod(0o666),
    ],
)
async def test_an_act_that_others_could_have_written_is_none(
    world: World, spoil: Callable[[Path], Any]
) -> None:
    world.open()
    [path] = world.files.directory.glob("act-*.json")
    spoil(path)
    assert await world.start() is None
    assert world.files.read()[1]


async def test_no_longer_than_the_hub_allows(world: World) -> None:
    with pytest.raises(ActError, match="480 minutes at most"):
        world.open(481)
    world.files.longest_ms = 1000 * MINUTE_MS
    world.open(481)
    world.files.longest_ms = 60 * MINUTE_MS  # made shorter since
    assert await world.start() is None
    with pytest.raises(ActError, match="reason"):
        world.files.open(now_ms=0, until_ms=MINUTE_MS, actor="op", reason=" ")


async def test_opened_by_the_environment_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def environment(until: str, reason: str = "no shell here") -> None:
        monkeypatch.setenv("JHUB_TOKENS_BREAK_GLASS_UNTIL", until)
        monkeypatch.setenv("JHUB_TOKENS_BREAK_GLASS_REASON", reason)
        world.restart()

    for until, reason in (("soon", "x" * 9), ("2026-11-01T01:00", "x" * 9)):
        environment(until, reason)
        assert world.glass.act is None
    environment("2026-11-01T01:00+01:00", "")
    assert world.glass.act is None
    environment("2026-11-01T01:00+01:00")  # an hour from now
    assert world.glass.act is not None and world.glass.act.until_ms == NOW_MS + 60 * MINUTE_MS
    world.files.end(now_ms=world.clock.now_ms(), actor="op")
    await world.tell()
    world.restart()
    assert world.glass.act is None  # a restart does not open it again


def test_an_unreadable_state_directory_only_switches_it_off(tmp_path: Path) -> None:
    glass = BreakGlass(tmp_path / "missing")
    glass.load()
    assert glass.act is None


def test_a_journal_that_others_could_write_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps({"what": "act", "act_id": "x", "over": True}))
    path.chmod(0o666)
    with pytest.raises(UntrustedFile, match="can be written by others"):
        Journal(path).load()
