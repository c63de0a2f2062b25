"""Rules: who gets which plan by what a provider says, however hostile that is."""

from __future__ import annotations

from typing import Any

import pytest

from jhub_tokens.catalogue import Account, Catalogue, check_catalogue, facts_of, parse_catalogue
from jhub_tokens.catalogue.accounts import domain_of

BASE = """\
default_plan: basic
adopt_profile: cpu
profiles:
  cpu: {rate: 1, cpu: 1, memory: 1G}
plans:
  basic: {tokens: 50, profiles: [cpu]}
  pro: {tokens: 300, profiles: [cpu]}
  big: {tokens: 3000, profiles: [cpu]}
"""
RULES = """\
assign:
  - refuse: true
    claims: {suspended: [true]}
  - plan: big
    match: all
    email_domains: [Example.org]
    claims: {realm_access.roles: [gpu]}
  - plan: pro
    members: [grace]
    teams: [acme/research]
    organisations: [acme]
    provider_groups: [staff]
    emails: [Guest@Example.com]
    claims: {"https://x.org/level": [3]}
"""


def catalogue(rules: str = RULES) -> Catalogue:
    return parse_catalogue(BASE + rules)


def decide(claims: dict[str, Any], rules: str = RULES) -> tuple[int | None, str, bool]:
    chosen = catalogue(rules)
    account = Account.from_claims(claims)
    found = chosen.decide(account.name, account.groups, facts_of(account, chosen.asked))
    return found.rule, found.plan, found.refused


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, (None, "basic", False)),
        ({"suspended": True}, (0, "basic", True)),
        ({"suspended": "true"}, (0, "basic", True)),
        ({"suspended": False}, (None, "basic", False)),
        ({"suspended": True, "preferred_username": "grace"}, (0, "basic", True)),
        ({"preferred_username": "grace"}, (2, "pro", False)),
        ({"groups": ["staff"]}, (2, "pro", False)),
        ({"organisations": ["acme"]}, (2, "pro", False)),
        ({"teams": ["acme/research"]}, (2, "pro", False)),
        ({"https://x.org/level": 3}, (2, "pro", False)),
        ({"email": "GUEST@example.com", "email_verified": True}, (2, "pro", False)),
        (
            {"email": "a@EXAMPLE.org", "email_verified": True, "realm_access": {"roles": ["gpu"]}},
            (1, "big", False),
        ),
    ],
)
def test_the_first_rule_that_matches_decides(
    claims: dict[str, Any], expected: tuple[int | None, str, bool]
) -> None:
    assert decide(claims) == expected


@pytest.mark.parametrize(
    "claims",
    [
        {"preferred_username": "Grace"},
        {"preferred_username": ["grace"]},
        {"preferred_username": "<b>grace</b>"},
        {"name": "grace", "preferred_username": "eve"},
        {"groups": "Staff"},
        {"groups": {"staff": True}},
        {"groups": [["staff"], {"name": "staff"}, None]},
        {"groups": ["staff "]},
        {"groups": ["x"] * 10_000 + ["staff"]},
        {"groups": ["staff" * 1000]},
        {"hub_groups": ["staff"]},
        {"email": "guest@example.com"},
        {"email": "guest@example.com", "email_verified": False},
        {"email": "guest@example.com", "email_verified": "yes"},
        {"email": ["guest@example.com"], "email_verified": True},
        {"email": "a@example.org", "email_verified": True},  # match: all wants the role, too
        {"realm_access": {"roles": ["gpu"]}},
        {"realm_access": ["roles"], "email": "a@example.org", "email_verified": True},
        {"https://x.org/level": 3.0},
        {"https://x.org/level": "３"},
        {"suspended": 1},
        {"suspended": "True"},
    ],
)
def test_what_only_looks_like_it_matches_nothing(claims: dict[str, Any]) -> None:
    assert decide(claims) == (None, "basic", False)


@pytest.mark.parametrize(
    "email",
    [
        "a@example.org.evil.com",
        "a@evil.com@example.org",
        '"a@evil.com"@example.org',
        "a@evil.com (@example.org",
        "a@example.org\r\n",
        "@example.org",
        "a@",
        "a@exаmple.org",  # a Cyrillic а
        "a" * 400 + "@example.org",
    ],
)
def test_addresses_that_pretend_a_domain(email: str) -> None:
    assert domain_of(email) != "example.org"


def test_only_what_rules_name_is_kept() -> None:
    chosen = catalogue()
    claims = {
        "sub": "secret",
        "groups": ["staff", *(f"g{n}" for n in range(5000))],
        "email": "a@example.org",
        "email_verified": True,
        "realm_access": {"roles": ["gpu", "other"]},
        "phone": "123",
    }
    facts = facts_of(Account.from_claims(claims), chosen.asked)
    assert facts.model_dump() == {
        "provider_groups": ("staff",),
        "organisations": (),
        "teams": (),
        "email_domains": ("example.org",),
        "emails": (),
        "claims": {"realm_access.roles": ("gpu",)},
        "gone": "",
    }


def test_without_a_rule_nobody_enters_where_it_is_so_set() -> None:
    rules = "entry: assigned\nassign: [{plan: pro, provider_groups: [staff]}]\n"
    assert decide({}, rules) == (None, "basic", True)
    assert decide({"groups": ["staff"]}, rules) == (0, "pro", False)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("assign:\n  - members: [a]\n", "c:10: assign[0].plan: this key is missing"),
        (
            "assign:\n  - {plan: pro, refuse: true, members: [a]}\n",
            "c:10: assign[0].refuse: a rule",
        ),
        ("assign:\n  - {plan: pro}\n", "c:10: assign[0]: this rule is about nobody"),
        (
            "assign:\n  - plan: pro\n    email_domains: ['@example.org']\n",
            "c:11: assign[0].email_domains[0]: '@example.org' is not a domain of e-mail "
            "addresses. Write example.org",
        ),
        (
            "assign:\n  - plan: pro\n    emails: [nobody]\n",
            "c:11: assign[0].emails[0]: 'nobody' is not an e-mail address",
        ),
        (
            "assign:\n  - plan: pro\n    claims: {role: admin}\n",
            "c:11: assign[0].claims.role: 'admin' is not a list. Write [admin]",
        ),
        (
            "assign:\n  - plan: pro\n    organizations: [acme]\n",
            "c:11: assign[0].organizations: this key is not known here. Did you mean "
            "'organisations'?",
        ),
        ("entry: none\n", "c:9: entry: 'none' is not known here"),
    ],
)
def test_mistakes_in_rules_have_a_line(rules: str, says: str) -> None:
    assert any(str(p).startswith(says) for p in check_catalogue(BASE + rules, "c").errors), [
        str(p) for p in check_catalogue(BASE + rules, "c").errors
    ]
