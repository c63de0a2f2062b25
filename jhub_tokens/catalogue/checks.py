"""What one key alone cannot tell: names that refer to each other, and sums that cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jhub_tokens.catalogue.models import FACT_KINDS, AssignRule, Catalogue, Policy, Profile
from jhub_tokens.catalogue.pool_checks import pool_warnings
from jhub_tokens.catalogue.problems import Problem
from jhub_tokens.catalogue.tree import Path, Tree, field_name
from jhub_tokens.catalogue.values import nearest
from jhub_tokens.facts import Facts
from jhub_tokens.units import GRAINS_MAX, GRAINS_PER_MILLITOKEN, cost_grains, format_tokens

__all__ = ["check_consistency", "check_references", "find_warnings"]

#: Below, two reports in a row that come late would look like an idle server.
IDLE_LEAST_MS = 2 * 60_000


def check_references(tree: Tree) -> None:
    """Report names that nothing in the file has.

    Works on the plain data, so that a mistake in one plan's tokens does not hide another
    plan's unknown profile.
    """
    top = _mapping(tree.data)
    kinds = ("plans", "profiles", "images", "pools", "cost_centres")
    known = {kind: list(_mapping(top.get(kind))) for kind in kinds}

    def refer(path: Path, name: Any, kind: str) -> None:
        if (
            not isinstance(name, str)
            or name in known[kind]
            or not isinstance(top.get(kind, {}), dict)
        ):
            return
        plural = kind.replace("_", " ")
        singular = plural.removesuffix("s")
        meant = nearest(name, known[kind])
        if meant:
            remedy = f"Did you mean '{meant}'?"
        elif known[kind]:
            remedy = f"The {plural} are {', '.join(known[kind][:12])}"
        else:
            remedy = f"Add it under {kind}"
        tree.report(path, f"there is no {singular} '{name[:60]}'", remedy)

    refer(("default_plan",), top.get("default_plan"), "plans")
    refer(("adopt_profile",), top.get("adopt_profile"), "profiles")
    for name, plan in _mapping(top.get("plans")).items():
        _refer_each(("plans", name, "profiles"), _mapping(plan).get("profiles"), "profiles", refer)
        refer(("plans", name, "cost_centre"), _mapping(plan).get("cost_centre"), "cost_centres")
    for name, profile in _mapping(top.get("profiles")).items():
        _refer_each(("profiles", name, "images"), _mapping(profile).get("images"), "images", refer)
        _refer_each(("profiles", name, "pools"), _mapping(profile).get("pools"), "pools", refer)
    for tag, image in _mapping(top.get("images")).items():
        refer(("images", tag, "successor"), _mapping(image).get("successor"), "images")
    for index, rule in enumerate(_list(top.get("assign"))):
        entry = _mapping(rule)
        refer(("assign", index, "plan"), entry.get("plan"), "plans")
        if isinstance(rule, dict) and entry.get("plan") is None and entry.get("refuse") is not True:
            path: Path = ("assign", index, "plan")
            tree.report(path, "this key is missing", "Add plan: pro, or refuse: true")
    for name, team in _mapping(top.get("teams")).items():
        refer(("teams", name, "plan"), _mapping(team).get("plan"), "plans")
        refer(("teams", name, "cost_centre"), _mapping(team).get("cost_centre"), "cost_centres")


def _refer_each(path: Path, names: Any, kind: str, refer: Callable[[Path, Any, str], None]) -> None:
    for index, name in enumerate(_list(names)):
        refer((*path, index), name, kind)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def check_consistency(catalogue: Catalogue, tree: Tree) -> None:
    """Report values that are fine by themselves but contradict each other."""
    for name, plan in catalogue.plans.items():
        most_mtok = plan.allotment_mtok + (plan.rollover_cap_mtok or 0)
        if most_mtok * GRAINS_PER_MILLITOKEN > GRAINS_MAX:
            tree.report(
                ("plans", name, "rollover"),
                "tokens and rollover together are more than a wallet can hold",
                "Keep their sum at 2500000000 or below",
            )
        if plan.rollover_periods is not None and plan.rollover_cap_mtok is None:
            tree.report(
                ("plans", name, "rollover_periods"),
                "nothing rolls over in this plan",
                "Add rollover: with the most tokens that may, or remove rollover_periods",
            )
    for name, profile in catalogue.profiles.items():
        if profile.gpu_models and not profile.gpus:
            tree.report(
                ("profiles", name, "gpu_models"),
                "models are listed but gpus is 0",
                "Write gpus: 1 (or more), or remove gpu_models",
            )
        _check_idle(name, profile, catalogue.policy, tree)
        _check_files(name, profile, tree)
    if catalogue.profiles[catalogue.adopt_profile].files:
        tree.report(
            ("adopt_profile",),
            "a server that runs already is no free server for files",
            "Name a profile without files: true",
        )
    for tag, image in catalogue.images.items():
        if image.lifecycle == "retiring" and image.until is None:
            tree.report(
                ("images", tag, "lifecycle"),
                "a retiring image needs the date on which it retires",
                "Add until: with a date such as 2027-03-31",
            )
        if image.until is not None and image.lifecycle in ("recommended", "maintained"):
            tree.report(
                ("images", tag, "until"),
                f"a date of retirement contradicts lifecycle: {image.lifecycle}",
                "Write lifecycle: retiring, or remove until",
            )
        if image.successor == tag:
            tree.report(
                ("images", tag, "successor"), "an image cannot succeed itself", "Name another image"
            )
    for index, rule in enumerate(catalogue.assign):
        if not rule.conditions("", (), Facts()):
            tree.report(
                ("assign", index),
                "this rule is about nobody",
                "Add members:, groups:, email_domains:, claims: or another condition",
            )
        if rule.refuse and rule.plan:
            tree.report(
                ("assign", index, "refuse"),
                "a rule gives a plan or refuses entry, not both",
                "Remove plan:, or remove refuse:",
            )
    for index, top_up in enumerate(catalogue.top_ups):
        if not top_up.amount_mtok or not top_up.price.amount_minor:
            tree.report(
                ("top_ups", index),
                "tokens and price of a top-up are more than 0",
                "Write for example {tokens: 100, price: 10.00 EUR}",
            )
    _check_teams(catalogue, tree)
    _check_warnings_fit(catalogue, tree)


def _check_idle(name: str, profile: Profile, policy: Policy, tree: Tree) -> None:
    if profile.idle is None:
        return
    path: Path = ("profiles", name, "idle")
    if profile.idle.stop_after_ms < IDLE_LEAST_MS:
        tree.report(
            (*path, "stop_after"),
            "a server reports what it does about once a minute, so it cannot be called idle sooner",
            "Write 2m or more, such as 60m",
        )
    for place, before_ms in enumerate(profile.idle.warn_before_ms):
        if not policy.stop_time_ms < before_ms < profile.idle.stop_after_ms:
            tree.report(
                (*path, "warn_before", place),
                "a warning must come before the stop and after the server has become idle",
                "Write a time between policy.stop_time and stop_after, such as 10m",
            )


def _check_files(name: str, profile: Profile, tree: Tree) -> None:
    if not profile.files:
        return
    if profile.rate_mtok_h:
        tree.report(
            ("profiles", name, "rate"),
            "a profile with files: true is for members whose balance is empty, so it is free",
            "Write rate: 0",
        )
    if profile.gpus:
        tree.report(
            ("profiles", name, "gpus"),
            "a profile with files: true runs nothing that could use a GPU",
            "Remove gpus",
        )
    if profile.max_run_ms is None:
        tree.report(
            ("profiles", name, "files"),
            "a free server must end by itself",
            "Add max_run: with a time such as 1h",
        )


def _check_teams(catalogue: Catalogue, tree: Tree) -> None:
    first: dict[str, str] = {}
    for name, team in catalogue.teams.items():
        other = first.setdefault(team.group, name)
        if other != name:
            tree.report(
                ("teams", name, "group"),
                f"the group '{team.group[:60]}' already has the team '{other}'",
                "Give each team a group of its own",
            )


def _check_warnings_fit(catalogue: Catalogue, tree: Tree) -> None:
    policy = catalogue.policy
    for index, before_ms in enumerate(policy.warn_before_ms):
        if before_ms <= 0:
            tree.report(
                ("policy", "warn_before", index),
                "0s is no warning",
                "Write 1m or more, or remove it",
            )
    if policy.minimum_run_ms + policy.grace_ms + policy.stop_time_ms <= 0:
        tree.report(
            ("policy", "stop_time"),
            "minimum_run, grace and stop_time are all 0s, so servers would start on nothing",
            "Give stop_time the time that stopping a server takes, such as 30s",
        )


def find_warnings(catalogue: Catalogue, tree: Tree) -> list[Problem]:
    """Return what is allowed but probably not meant."""
    return [
        Problem(tree.source, tree.line(path), field_name(path), message, remedy, "warning")
        for path, message, remedy in (
            *_plan_warnings(catalogue),
            *_profile_warnings(catalogue),
            *pool_warnings(catalogue),
            *_image_warnings(catalogue),
            *_assign_warnings(catalogue),
            *_cost_centre_warnings(catalogue),
        )
    ]


_Found = Iterator[tuple[Path, str, str]]


def _plan_warnings(catalogue: Catalogue) -> _Found:
    policy = catalogue.policy
    least_ms = policy.minimum_run_ms + policy.grace_ms + policy.stop_time_ms
    for name, plan in catalogue.plans.items():
        if not plan.profiles:
            yield ("plans", name, "profiles"), "this plan can start nothing", "List some profiles"
        for index, profile_name in enumerate(plan.profiles):
            profile = catalogue.profiles[profile_name]
            needed = cost_grains(profile.rate_mtok_h, least_ms)
            if needed > plan.allotment_mtok * GRAINS_PER_MILLITOKEN:
                yield (
                    ("plans", name, "profiles", index),
                    f"the plan's tokens can never carry a start of '{profile_name}', which needs "
                    f"{format_tokens(needed, 3)} (its rate for minimum_run, grace and stop_time)",
                    "Raise tokens, or lower the rate or minimum_run",
                )


def _profile_warnings(catalogue: Catalogue) -> _Found:
    offered = {name for plan in catalogue.plans.values() for name in plan.profiles}
    for name, profile in catalogue.profiles.items():
        if name not in offered and name != catalogue.adopt_profile:
            yield ("profiles", name), "no plan includes this profile", "Add it to a plan"
        for index, tag in enumerate(profile.images):
            if not catalogue.images[tag].fits(profile):
                kind = "GPUs" if profile.gpus else "CPUs only"
                yield (
                    ("profiles", name, "images", index),
                    f"the image is made for accelerator: {catalogue.images[tag].accelerator}, "
                    f"but the profile has {kind}",
                    "Choose another image",
                )
        if catalogue.images and not catalogue.images_for(name):
            yield (
                ("profiles", name),
                "no image can be chosen with this profile",
                "List images: or give an image the accelerator that fits",
            )


def _image_warnings(catalogue: Catalogue) -> _Found:
    for tag, image in catalogue.images.items():
        successor = catalogue.images.get(image.successor or "")
        if successor is not None and successor.lifecycle == "retired":
            yield (
                ("images", tag, "successor"),
                f"'{successor.tag}' is retired itself",
                "Name an image that members can start",
            )


def _assign_warnings(catalogue: Catalogue) -> _Found:
    for index, kind, position, name, first in _named_again(map(_deciding, catalogue.assign)):
        yield (
            ("assign", index, kind, position),
            f"'{name[:60]}' is already in rule assign[{first}], which wins",
            "Remove one of the two",
        )
    if catalogue.entry == "assigned" and not catalogue.assign:
        yield ("entry",), "nobody is assigned a plan, so nobody may enter", "Add rules to assign:"


def _deciding(rule: AssignRule) -> Mapping[str, Sequence[str]]:
    """Return the names of which each decides alone, by kind."""
    if rule.match == "all":
        return {}  # the same name may well decide together with another condition
    asked = {kind: getattr(rule.asked, kind) for kind in FACT_KINDS}
    return {"members": rule.members, "groups": rule.groups, **asked}


def _cost_centre_warnings(catalogue: Catalogue) -> _Found:
    centres = list(catalogue.cost_centres.values())
    for index, kind, position, name, first in _named_again(
        {"members": centre.members, "groups": centre.groups} for centre in centres
    ):
        yield (
            ("cost_centres", centres[index].name, kind, position),
            f"'{name[:60]}' is already in the cost centre '{centres[first].name}', which wins",
            "Remove one of the two",
        )
    borne = {plan.cost_centre for plan in catalogue.plans.values()}
    borne |= {team.cost_centre for team in catalogue.teams.values()}
    for centre in centres:
        if not centre.members and not centre.groups and centre.name not in borne:
            yield (
                ("cost_centres", centre.name),
                "nothing is booked to this cost centre",
                "Name members: or groups:, or name it as cost_centre: of a plan or a team",
            )


def _named_again(
    rules: Iterable[Mapping[str, Sequence[str]]],
) -> Iterator[tuple[int, str, int, str, int]]:
    """Find names that an earlier rule has too: rule, kind, place, name, earlier rule."""
    seen: dict[tuple[str, str], int] = {}
    for index, rule in enumerate(rules):
        for kind, names in rule.items():
            for position, name in enumerate(names):
                first = seen.setdefault((kind, name), index)
                if first != index:
                    yield index, kind, position, name, first
