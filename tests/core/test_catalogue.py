"""A catalogue is read exactly, and every mistake in one is named with its line and remedy."""

from __future__ import annotations

import io
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from jhub_tokens.catalogue import (
    CatalogueError,
    check_catalogue,
    load_catalogue,
    parse_catalogue,
    shipped_catalogue,
)

VALID = """\
title: Test
zone: Europe/Berlin
default_plan: basic
adopt_profile: cpu
policy:
  minimum_run: 5m
  grace: 2m
  stop_time: 30s
plans:
  basic:
    tokens: 50
    profiles: [cpu]
  pro:
    tokens: 300.5
    rollover: 100
    profiles: [cpu, gpu]
    max_servers: 2
profiles:
  cpu:
    rate: 1
    cpu: 4
    memory: 8G
  gpu:
    rate: 10
    cpu: 8
    memory: 32G
    gpus: 1
    gpu_models: [T4]
images:
  old:
    lifecycle: retired
    successor: new
  new:
    accelerator: gpu
    lifecycle: recommended
  leaving:
    accelerator: gpu
    lifecycle: retiring
    until: 2027-06-30
    successor: new
  plain:
    accelerator: cpu
assign:
  - plan: pro
    members: [grace]
    groups: [staff]
"""


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in check_catalogue(text, "c.yaml").errors]


# --- what a catalogue says ---------------------------------------------------------------------


def test_values_are_exact():
    catalogue = parse_catalogue(VALID)
    assert catalogue.plans["pro"].allotment_mtok == 300_500
    assert catalogue.plans["pro"].rollover_cap_mtok == 100_000
    assert catalogue.plans["basic"].rollover_cap_mtok is None
    assert catalogue.plans["basic"].title == "basic"
    assert catalogue.profiles["gpu"].rate_mtok_h == 10_000
    assert catalogue.profiles["cpu"].memory_bytes == 8 * 1024**3
    assert catalogue.policy.minimum_run_ms == 300_000
    assert catalogue.policy.warn_before_ms == (1_800_000, 600_000, 300_000, 60_000)
    assert list(catalogue.profiles) == ["cpu", "gpu"]
    assert catalogue.images["leaving"].until == date(2027, 6, 30)
    assert catalogue.enforce is True


def test_the_first_rule_that_matches_decides_the_plan():
    catalogue = parse_catalogue(VALID)
    assert catalogue.plan_for("grace").name == "pro"
    assert catalogue.plan_for("Grace").name == "basic"
    assert catalogue.plan_for("linus", ["students", "staff"]).name == "pro"
    assert catalogue.plan_for("linus", ["students"]).name == "basic"


def test_images_fit_the_hardware_recommended_first_and_retired_never():
    catalogue = parse_catalogue(VALID)
    assert [image.tag for image in catalogue.images_for("gpu")] == ["new", "leaving"]
    assert [image.tag for image in catalogue.images_for("cpu")] == ["plain"]
    on_the_day = catalogue.images_for("gpu", today=date(2027, 6, 30))
    assert [image.tag for image in on_the_day] == ["new"]
    listed = parse_catalogue(VALID.replace("gpu_models: [T4]", "images: [leaving, old, new]"))
    assert [image.tag for image in listed.images_for("gpu")] == ["new", "leaving"]


def test_smaller_profiles_come_next_smaller_first():
    catalogue = load_catalogue(shipped_catalogue("default"))
    smaller = catalogue.smaller_than(catalogue.profiles["gpu4"])
    assert [profile.name for profile in smaller] == ["gpu", "cpu", "files"]
    assert catalogue.smaller_than(catalogue.profiles["files"]) == []


@pytest.mark.parametrize("name", ["default", "demo"])
def test_shipped_catalogues_are_without_errors_and_warnings(name: str):
    report = check_catalogue(shipped_catalogue(name).read_text(encoding="utf-8"), name)
    assert (report.errors, report.warnings) == ((), ())


def test_the_demo_is_the_example_at_sixty_times_the_rate():
    example = load_catalogue(shipped_catalogue("default"))
    demo = load_catalogue(shipped_catalogue("demo"))
    assert {name: 60 * p.rate_mtok_h for name, p in example.profiles.items()} == {
        name: p.rate_mtok_h for name, p in demo.profiles.items()
    }
    assert demo.images == example.images
    assert "one minute costs what one hour would cost" in demo.banner


def test_merge_keys_and_aliases_work():
    text = VALID.replace("  basic:\n", "  basic: &base\n").replace(
        "  pro:\n    tokens: 300.5",
        "  plus:\n    <<: *base\n    tokens: 70\n  pro:\n    tokens: 300.5",
    )
    plus = parse_catalogue(text).plans["plus"]
    assert (plus.allotment_mtok, plus.profiles) == (70_000, ("cpu",))


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("zone: Europe/Berlin", "zone: Berlin", "c.yaml:2: zone: 'Berlin' is not a time zone. Did you mean 'Europe/Berlin'?"),
        ("zone: Europe/Berlin", "zone: ../etc/passwd", "c.yaml:2: zone: "),
        ("zone: Europe/Berlin", "zone:", "c.yaml:2: zone: nothing is not a time zone"),
        ("title: Test", "titel: Test", "c.yaml:1: titel: this key is not known here. Did you mean 'title'?"),
        ("title: Test", "title: 5", "c.yaml:1: title: 5 is not text. Put it in quotes"),
        ("title: Test", "title: Test\ntitle: Again", "c.yaml:2: title: this key is already there, on line 1"),
        ("title: Test", "enforce: yes", "c.yaml:1: enforce: 'yes' is neither true nor false. Write true or false"),
        ("default_plan: basic", "default_plan: basik", "c.yaml:3: default_plan: there is no plan 'basik'. Did you mean 'basic'?"),
        ("default_plan: basic\n", "", "c.yaml: default_plan: this key is missing"),
        ("gpus: 1\n", "gpus: 1\n    idle: {}\n", "c.yaml:28: profiles.gpu.idle.stop_after: this key is missing. Add stop_after: 60m"),
        ("gpus: 1\n", "gpus: 1\n    idle: {stop_afer: 1h}\n", "c.yaml:28: profiles.gpu.idle.stop_afer: this key is not known here. Did you mean 'stop_after'?"),
        ("gpus: 1\n", "gpus: 1\n    idle: {stop_after: 1m, warn_before: []}\n", "c.yaml:28: profiles.gpu.idle.stop_after: a server reports what it does about once a minute"),
        ("gpus: 1\n", "gpus: 1\n    idle: {stop_after: 1h, warn_before: [2m, 2h]}\n", "c.yaml:28: profiles.gpu.idle.warn_before[0]: a warning must come before the stop"),
        ("gpus: 1\n", "gpus: 1\n    idle: {stop_after: 1h, warn_before: [30s]}\n", "c.yaml:28: profiles.gpu.idle.warn_before[0]: a warning must come before the stop"),
        ("gpus: 1\n", "gpus: 1\n    idle: 60m\n", "c.yaml:28: profiles.gpu.idle: '60m' is not a mapping"),
        ("rate: 10\n", "rate: 10\n    files: true\n    max_run: 1h\n", "c.yaml:24: profiles.gpu.rate: a profile with files: true is for members whose balance is empty, so it is free. Write rate: 0"),
        ("rate: 10\n", "rate: 0\n    files: true\n    max_run: 1h\n", "c.yaml:29: profiles.gpu.gpus: a profile with files: true runs nothing that could use a GPU"),
        ("rate: 1\n", "rate: 0\n    files: true\n", "c.yaml:21: profiles.cpu.files: a free server must end by itself. Add max_run"),
        ("rate: 1\n", "rate: 0\n    files: true\n    max_run: 1h\n", "c.yaml:4: adopt_profile: a server that runs already is no free server for files"),
        ("adopt_profile: cpu", "adopt_profile: tpu", "c.yaml:4: adopt_profile: there is no profile 'tpu'"),
        ("minimum_run: 5m", "minimum_run: 5 minutes", "c.yaml:6: policy.minimum_run: '5 minutes' is not a duration. Write 5m"),
        ("minimum_run: 5m", "minimum_run: 5", "c.yaml:6: policy.minimum_run: 5 has no unit. Write 5s, 5m or 5h"),
        ("minimum_run: 5m", "minimum_run: -5m", "c.yaml:6: policy.minimum_run: '-5m' is not a duration"),
        ("minimum_run: 5m", "minimum_run: 8d", "c.yaml:6: policy.minimum_run: '8d' is too long"),
        ("grace: 2m", "warn_before: 2m", "c.yaml:7: policy.warn_before: '2m' is not a list. Write [2m]"),
        ("grace: 2m", "warn_before: [2m, 0s]", "c.yaml:7: policy.warn_before[1]: 0s is no warning"),
        ("grace: 2m", "warn_used_percent: [0]", "c.yaml:7: policy.warn_used_percent[0]: 0 is out of range"),
        ("grace: 2m", "overrun: wave", "c.yaml:7: policy.overrun: 'wave' is not known here. Did you mean 'waive'?"),
        ("grace: 2m", "break_glass: wave", "c.yaml:7: policy.break_glass: 'wave' is not known here. Did you mean 'waive'?"),
        ("tokens: 50\n", "tokens: -3\n", "c.yaml:11: plans.basic.tokens: -3 is negative"),
        ("tokens: 50\n", "tokens: 1,5\n", "c.yaml:11: plans.basic.tokens: '1,5' is not an amount of tokens"),
        ("tokens: 50\n", "tokens: 0.0001\n", "c.yaml:11: plans.basic.tokens: "),
        ("tokens: 50\n", "tokens: 3000000000\n", "c.yaml:11: plans.basic.tokens: "),
        ("tokens: 50\n", "tokens: 1e400\n", "c.yaml:11: plans.basic.tokens: "),
        ("tokens: 50\n", "tokens: .nan\n", "c.yaml:11: plans.basic.tokens: "),
        ("tokens: 50\n", "tokens: true\n", "c.yaml:11: plans.basic.tokens: true is not an amount of tokens"),
        ("tokens: 50\n", "", "c.yaml:10: plans.basic.tokens: this key is missing. Add tokens: 300"),
        ("rollover: 100", "rollover: 2500000000", "c.yaml:15: plans.pro.rollover: tokens and rollover together"),
        ("rollover: 100", "period: monthly", "c.yaml:15: plans.pro.period: 'monthly' is not known here. Write anchored or calendar"),
        ("max_servers: 2", "max_servers: 0", "c.yaml:17: plans.pro.max_servers: 0 is out of range"),
        ("max_servers: 2", "max_server: 2", "c.yaml:17: plans.pro.max_server: this key is not known here. Did you mean 'max_servers'?"),
        ("[cpu, gpu]", "[cpu, gpuu]", "c.yaml:16: plans.pro.profiles[1]: there is no profile 'gpuu'. Did you mean 'gpu'?"),
        ("rate: 10", "rate: 1000001", "c.yaml:24: profiles.gpu.rate: a rate of 1000001 is out of range"),
        ("rate: 10", "rate: 99999999999999999999", "c.yaml:24: profiles.gpu.rate: a rate of 99999999999999999999 is out of range"),
        ("rate: 10", "rate: -1", "c.yaml:24: profiles.gpu.rate: -1 is negative"),
        ("rate: 10", "rate: cheap", "c.yaml:24: profiles.gpu.rate: 'cheap' is not a rate in tokens per hour"),
        ("cpu: 8", "cpu: 0", "c.yaml:25: profiles.gpu.cpu: 0 is out of range"),
        ("memory: 32G", "memory: 32", "c.yaml:26: profiles.gpu.memory: 32 has no unit. Write 32G or 32M"),
        ("memory: 32G", "memory: 32GB", "c.yaml:26: profiles.gpu.memory: '32GB' has a unit that JupyterHub does not know. Write 32G"),
        ("memory: 32G", "memory: much", "c.yaml:26: profiles.gpu.memory: 'much' is not an amount of memory"),
        ("gpus: 1", "gpus: 1.5", "c.yaml:27: profiles.gpu.gpus: 1.5 is not a whole number"),
        ("gpus: 1", "gpus: 0", "c.yaml:28: profiles.gpu.gpu_models: models are listed but gpus is 0"),
        ("gpus: 1", "images: [olf]", "c.yaml:27: profiles.gpu.images[0]: there is no image 'olf'. Did you mean 'old'?"),
        ("gpus: 1", "environment: {A: 1}", "c.yaml:27: profiles.gpu.environment.A: 1 is not text. Put it in quotes"),
        ("gpus: 1", "environment: {JUPYTERHUB_API_TOKEN: x}", "c.yaml:27: profiles.gpu.environment.JUPYTERHUB_API_TOKEN: "),
        ("gpus: 1", "environment: {1A: x}", "c.yaml:27: profiles.gpu.environment.1A: "),
        ("gpus: 1", "node_selector: [a]", "c.yaml:27: profiles.gpu.node_selector: a list is not a mapping"),
        ("  gpu:\n", "  'g p u':\n", "c.yaml:23: profiles.g p u: 'g p u' cannot be a name"),
        ("  gpu:\n", "  12:\n", "c.yaml:23: profiles: the key 12 is not text"),
        ("    until: 2027-06-30\n", "", "c.yaml:38: images.leaving.lifecycle: a retiring image needs the date"),
        ("2027-06-30", "2027-06-31", "c.yaml:39: images.leaving.until: "),
        ("2027-06-30", "soon", "c.yaml:39: images.leaving.until: 'soon' is not a date"),
        ("lifecycle: recommended", "until: 2027-01-01", "c.yaml:35: images.new.until: a date of retirement contradicts lifecycle: maintained"),
        ("    lifecycle: retired\n    successor: new", "    lifecycle: retired\n    successor: old", "c.yaml:32: images.old.successor: an image cannot succeed itself"),
        ("    lifecycle: retired\n    successor: new", "    lifecycle: retired\n    successor: mew", "c.yaml:32: images.old.successor: there is no image 'mew'. Did you mean 'new'?"),
        ("  - plan: pro", "  - plan: por", "c.yaml:44: assign[0].plan: there is no plan 'por'. Did you mean 'pro'?"),
        ("    members: [grace]\n    groups: [staff]\n", "", "c.yaml:44: assign[0]: this rule is about nobody"),
        ("members: [grace]", "members: grace", "c.yaml:45: assign[0].members: 'grace' is not a list. Write [grace]"),
        ("title: Test", "\ttitle: Test", "c.yaml:1: a tab indents this line. Indent with spaces"),
        ("title: Test", "title: [Test", "c.yaml:2: not readable as YAML"),
        ("title: Test", "title: *nowhere", "c.yaml:1: found undefined alias"),
        ("title: Test", "title: !!python/object:os.system x", "c.yaml:1: title: the YAML tag"),
        ("title: Test", "title: Te\x07st", "c.yaml:1: the character U+0007 cannot be here"),
        ("title: Test", "title: Test\n---\nzone: UTC", "c.yaml:2: a second document starts here"),
        ("title: Test", "title: Test\n? [a, b]\n: c", "c.yaml:2: a key must be a word"),
        ("title: Test", "<<: 5", "c.yaml:1: <<: only a mapping can be merged"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_line_field_and_remedy(old: str, new: str, expected: str):
    assert VALID.count(old) >= 1
    found = problems_of(VALID.replace(old, new, 1))
    assert any(line.startswith(expected) for line in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "c.yaml: the file is empty"),
        ("# nothing but a comment\n", "c.yaml: the file is empty"),
        ("~", "c.yaml: the file holds nothing"),
        ("- a\n- b\n", "c.yaml: the file holds a list, not keys and values"),
        ("just words", "c.yaml: the file holds 'just words', not keys and values"),
        ("[" * 5000, "c.yaml: not readable as YAML: nested too deeply"),
        ("plans: &p\n  x: *p\n", "c.yaml: adopt_profile: this key is missing"),
    ],
)
def test_files_that_are_no_catalogue_at_all(text: str, expected: str):
    found = problems_of(text)
    assert found and found[0].startswith(expected), found


def test_an_alias_cannot_contain_itself():
    found = problems_of("plans: &p\n  x: *p\n")
    assert "c.yaml:2: plans.x: this alias contains itself. Write its value out" in found


def test_aliases_cannot_unfold_without_limit():
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10))
    found = problems_of(f"l0: &l0 [a, b]\n{levels}\n")
    assert any("unfolds to more than 50000 values" in line for line in found)


def test_every_required_key_has_an_example():
    found = problems_of("plans: {a: {}}\nprofiles: {b: {}}\nassign: [{}]\n")
    assert sum("this key is missing. Add " in line for line in found) == 8
    assert len(problems_of("title: x")) == 4


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file():
    text = (
        VALID.replace("Europe/Berlin", "Mars")
        .replace("tokens: 50\n", "tokens: lots\n")
        .replace("[cpu, gpu]", "[cpu, gpuu]")
        .replace("memory: 8G", "memory: 8")
    )
    lines = [problem.line for problem in check_catalogue(text).errors]
    assert lines == [2, 11, 16, 22]


def test_a_flood_of_mistakes_is_cut():
    text = VALID + "".join(f"extra{n}: 1\n" for n in range(500))
    found = problems_of(text)
    assert len(found) == 101
    assert "400 more problems" in found[-1]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("tokens: 50\n", "tokens: 0.1\n", "c.yaml:12: warning: plans.basic.profiles[0]: the plan's tokens can never carry a start of 'cpu', which needs 0.125"),
        ("profiles: [cpu]\n", "profiles: []\n", "c.yaml:12: warning: plans.basic.profiles: this plan can start nothing"),
        ("[cpu, gpu]", "[cpu]", "c.yaml:23: warning: profiles.gpu: no plan includes this profile"),
        ("gpus: 1", "gpus: 1\n    images: [plain]", "c.yaml:28: warning: profiles.gpu.images[0]: the image is made for accelerator: cpu"),
        ("    accelerator: cpu\n", "    accelerator: gpu\n", "c.yaml:19: warning: profiles.cpu: no image can be chosen"),
        ("until: 2027-06-30\n    successor: new", "until: 2027-06-30\n    successor: old", "c.yaml:40: warning: images.leaving.successor: 'old' is retired itself"),
        ("    groups: [staff]\n", "    groups: [staff]\n  - {plan: basic, members: [grace]}\n", "c.yaml:47: warning: assign[1].members[0]: 'grace' is already in rule assign[0]"),
    ],
)  # fmt: skip
def test_oddities_are_warned_about_but_load(old: str, new: str, expected: str):
    assert VALID.count(old) >= 1
    report = check_catalogue(VALID.replace(old, new, 1), "c.yaml")
    assert report.catalogue is not None
    assert any(str(w).startswith(expected) for w in report.warnings), report.warnings


def test_the_valid_example_has_no_warnings():
    assert check_catalogue(VALID).warnings == ()


def test_idle_and_files_are_read():
    text = VALID.replace(
        "gpus: 1\n", "gpus: 1\n    idle: {stop_after: 1h, warn_before: [2m, 10m]}\n"
    )
    idle = parse_catalogue(text).profiles["gpu"].idle
    assert idle is not None
    assert (idle.stop_after_ms, idle.warn_before_ms) == (3_600_000, (600_000, 120_000))
    profile = parse_catalogue(VALID).profiles["gpu"]
    assert (profile.idle, profile.files) == (None, False)


# --- files -------------------------------------------------------------------------------------


def load_error(path: Path) -> str:
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(path)
    return str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path):
    assert "there is no such file" in load_error(tmp_path / "missing.yaml")
    assert "not a regular file" in load_error(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "not a regular file" in load_error(pipe)
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * 1_000_001)
    assert "larger than 1 MB" in load_error(huge)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\ntitle: Gebühr\n".encode("latin-1"))
    assert f"{latin}:2: the file is not UTF-8 text" in load_error(latin)
    assert "cannot be read" in load_error(Path("nul\0byte"))


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path: Path):
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode())
    assert load_catalogue(file) == parse_catalogue(VALID)


# --- whatever is in the file, there is an answer -----------------------------------------------

_TEXTS = [VALID, shipped_catalogue("demo").read_text(encoding="utf-8")]
_SNIPPETS = st.one_of(
    st.sampled_from(
        ["\t", "\n", ": ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: *a", "!!int ", "|", ">", "~",
         "-1", "1e999", ".inf", "0x1F", "2024-02-30", "'", '"', "#", "%", "\x00", "---\n", "? "]
    ),
    st.text(max_size=12),
)  # fmt: skip


@settings(max_examples=200)
@given(
    text=st.sampled_from(_TEXTS),
    edits=st.lists(
        st.tuples(st.integers(0, 3000), st.integers(0, 40), _SNIPPETS), min_size=1, max_size=6
    ),
)
def test_a_mutated_catalogue_is_read_or_explained(text: str, edits: list[tuple[int, int, str]]):
    for at, removed, inserted in edits:
        at %= len(text) + 1
        text = text[:at] + inserted + text[at + removed :]
    report = check_catalogue(text, "c.yaml")
    assert (report.catalogue is None) == bool(report.errors)
    for problem in (*report.errors, *report.warnings):
        assert problem.message and "\n" not in str(problem)
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + text.count("\r") + 1


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.dates()
)


@settings(max_examples=100)
@given(data=st.data())
def test_any_value_at_any_place_is_read_or_explained(data: st.DataObject):
    tree = YAML(typ="safe").load(VALID)
    node = tree
    for _ in range(data.draw(st.integers(0, 3))):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], (dict, list)) or not node[key]:
            break
        node = node[key]
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    value = data.draw(
        st.recursive(
            _SCALARS,
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
            max_leaves=4,
        )
    )
    node[data.draw(st.sampled_from(keys))] = value
    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(tree, out)
    report = check_catalogue(out.getvalue(), "c.yaml")
    assert (report.catalogue is None) == bool(report.errors)
