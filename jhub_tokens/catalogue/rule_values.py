"""Single values of rules: names, e-mail addresses and domains, values of claims."""

from __future__ import annotations

import unicodedata
from typing import Any

from jhub_tokens.catalogue.accounts import domain_of
from jhub_tokens.catalogue.values import ValueProblem, describe, read_text
from jhub_tokens.facts import NAME_LENGTH_MAX

__all__ = ["read_claim_value", "read_email", "read_email_domain", "read_rule_name"]


def read_rule_name(value: Any) -> str:
    """Read a name of a member, group, organisation, team or claim."""
    text = unicodedata.normalize("NFC", read_text("" if value is None else value))
    if len(text) > NAME_LENGTH_MAX:
        raise ValueProblem(f"the name has {len(text)} characters", f"Use at most {NAME_LENGTH_MAX}")
    if not text:
        raise ValueProblem("the name is empty", "Write a name, or remove it")
    return text


def read_claim_value(value: Any) -> str:
    """Read what a claim must hold: a text, a whole number, true or false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else read_rule_name(value)


def read_email_domain(value: Any) -> str:
    """Read the domain of e-mail addresses."""
    text = read_rule_name(value)
    domain = domain_of(f"somebody@{text}")
    if "@" in text or "." not in domain.strip("."):
        meant = text.rpartition("@")[2]
        raise ValueProblem(
            f"{describe(text)} is not a domain of e-mail addresses",
            f"Write {meant}" if "@" in text and "." in meant else "Write example.org",
        )
    return domain


def read_email(value: Any) -> str:
    """Read an e-mail address; case does not count."""
    text = read_rule_name(value).casefold()
    if not domain_of(text):
        raise ValueProblem(f"{describe(text)} is not an e-mail address", "Write ada@example.org")
    return text
