"""Notices for people: how urgent one is, its subject and its text, in the member's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger.records import URGENCIES, NoticeRecord, Urgency
from jhub_tokens.service.notice_words import WORDS, Words
from jhub_tokens.service.texts import duration_text, instant_text, tokens_text

__all__ = ["notice_severity", "notice_subject", "notice_text"]

#: Params that are instants, and what the texts call them.
_INSTANTS = {
    "dry_at_ms": "dry_at",
    "stop_at_ms": "stop_at",
    "renews_at_ms": "renews_at",
    "period_end_ms": "period_end",
    "expires_at_ms": "expires_at",
    "at_ms": "at",
    "until_ms": "until",
    "freezes_at_ms": "freezes_at",
}
#: Notices whose reason is what somebody typed, and no stop's.
_SAID_BY_PEOPLE = ("frozen", "credited", "refunded", "answered")


def notice_severity(kind: str) -> Urgency:
    """Return how loudly a notice of this kind is shown."""
    return URGENCIES.get(kind, "info")


def notice_subject(notice: NoticeRecord, catalogue: Catalogue) -> str:
    """Return what a notice is about, in one line, in the member's language."""
    subject, _ = _entry(notice)
    return _fill(subject, notice, catalogue, None)


def notice_text(notice: NoticeRecord, catalogue: Catalogue, now_ms: int | None) -> str:
    """Return what a notice says, complete in itself, in the member's language.

    Instants are told in the member's display zone, as seen from `now_ms` (*today 14:05*); with
    None, whole, for a text that is read later.
    """
    _, text = _entry(notice)
    filled = _fill(text, notice, catalogue, now_ms)
    return filled[:1].upper() + filled[1:]


def _words(notice: NoticeRecord) -> Words:
    return WORDS.get(notice.language, WORDS["en"])


def _entry(notice: NoticeRecord) -> tuple[str, str]:
    """Return the templates of a notice's subject and text."""
    entries = _words(notice).notices
    variant = _reason(notice)
    if notice.kind == "credited" and _int(notice.params.get("grains")) < 0:
        variant = "taken"
    unknown = str(notice.kind).replace("_", " ")
    names = [f"{notice.kind}.{variant}", str(notice.kind)]
    if notice.params.get("team"):
        names = [f"{name}.team" for name in names] + names
    return next((entries[name] for name in names if name in entries), (unknown, unknown))


def _fill(template: str, notice: NoticeRecord, catalogue: Catalogue, now_ms: int | None) -> str:
    words, params = _words(notice), notice.params
    language, zone = notice.language, notice.zone or catalogue.zone
    servers, alone = _servers(params, catalogue, words, language)
    plan = catalogue.plans.get(str(params.get("plan")))
    team = catalogue.teams.get(str(params.get("team")))
    values: dict[str, Any] = {
        "percent": params.get("percent"),
        "left": duration_text(_int(params.get("threshold_ms")), language),
        "tokens": tokens_text(abs(_int(params.get("grains"))), language),
        "plan": plan.spoken(language).title if plan else params.get("plan"),
        "servers": servers,
        "server": _title(params, catalogue, language),
        "team": team.spoken(language).title if team else params.get("team"),
        "name": params.get("name"),
        "key_name": params.get("key_name"),
        "fingerprint": params.get("fingerprint"),
        "was": words.was if alone else words.were,
        "is_": words.is_ if alone else words.are,
        "why": {**words.why, **words.ended}.get(_reason(notice), _reason(notice)),
        "will": words.will.get(_reason(notice), _reason(notice)),
        "answer": params.get("reason", ""),
        "detail": f": {params['detail']}" if params.get("detail") else "",
        "reason": _because(notice, words),
        **{
            name: instant_text(_int(params.get(param)), now_ms, zone, language)
            for param, name in _INSTANTS.items()
        },
    }
    renews = words.renews.format_map(values) if params.get("renews_at_ms") else ""
    return template.format_map({**values, "renews": renews})


def _because(notice: NoticeRecord, words: Words) -> str:
    """Return the sentence with the reason of who did it: a person's own words, or the books'."""
    with i18n.speaking(notice.language):
        reason = i18n.retold(str(notice.params.get("reason") or ""))
    return words.reason.format(reason=reason) if reason else ""


def _reason(notice: NoticeRecord) -> str:
    """Return why servers are stopped; the notices of earlier releases were about the balance."""
    if notice.kind in _SAID_BY_PEOPLE and "servers" not in notice.params:
        return ""
    return str(notice.params.get("reason") or "dry")


def _servers(
    params: Mapping[str, object], catalogue: Catalogue, words: Words, language: str
) -> tuple[str, bool]:
    """Return what a notice is about, and whether that is one server alone."""
    servers = params.get("servers")
    titles = []
    for server in servers if isinstance(servers, (list, tuple)) else []:
        titles.append(_title(server, catalogue, language))
    if not titles:
        return words.any_servers, False
    template = words.one_server if len(titles) == 1 else words.servers
    return template.format(titles=words.joined.join(titles)), len(titles) == 1


def _title(server: Mapping[str, object], catalogue: Catalogue, language: str) -> str:
    """Return how people know a server: by its profile, and its name if it has one."""
    profile = catalogue.profiles.get(str(server.get("profile")))
    title = profile.spoken(language).title if profile else str(server.get("profile"))
    name = str(server.get("server_name") or "")
    return f"{title} “{name}”" if name else title


def _int(value: object) -> int:
    return int(value) if isinstance(value, (int, float, str)) else 0
