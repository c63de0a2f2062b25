"""The profile selector: the part of the start page where a member chooses what to start.

It is plain HTML that works without JavaScript and by keyboard: a group of radio buttons, one
card each, with the selects of a card named after its profile (see `jhub_spawner.choice`).
Everything in it is escaped, since titles and names come from a catalogue that others write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2 import Template as JinjaTemplate

from jhub_spawner.refused import refusal_text
from jhub_tokens import i18n, wire
from jhub_tokens.hub.assets import asset_url
from jhub_tokens.words import day_text, duration_text, hardware_text, rate_text, tokens_text

__all__ = ["break_glass_form", "closed_form", "render_selector"]


#: What the selector offers; an API call may name any time.
_RUN_HOURS = (1, 2, 4, 8, 12, 24)
_HOUR_MS = 3_600_000


@cache
def _template(name: str) -> JinjaTemplate:
    environment = Environment(
        loader=PackageLoader("jhub_spawner"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # of the extension
        i18n.translated, i18n.translated_plural, newstyle=True
    )
    environment.filters.update(
        refusal=refusal_text, day=_day_text, duration=duration_text, tokens=tokens_text
    )
    environment.globals.update(asset=asset_url, hardware=hardware_text, rate=rate_text)
    return environment.get_template(name)


def render_selector(offers: wire.Offers, *, chosen: Mapping[str, Any], console_url: str) -> str:
    """Return the selector for these offers as HTML, in the language of the task.

    Parameters
    ----------
    offers
        What the member may start now, open and closed.
    chosen
        The options of the last start, to begin with.
    console_url
        Where the member's balance and statement are.
    """
    open_profiles = [offer.profile for offer in offers.offers if offer.open]
    profile = chosen.get("profile")
    if profile not in open_profiles:
        profile = open_profiles[0] if open_profiles else None
    image = chosen.get("image")
    if not isinstance(image, str):
        image = None  # stored by an API call of old: anything that JSON can say
    return _template("selector.html").render(
        standing=offers.standing,
        offers=offers.offers,
        profile=profile,
        image=image,
        # The image of the last start may have been retired meanwhile.
        gone=[
            offer.profile
            for offer in offers.offers
            if image and offer.profile == profile and image not in {i.tag for i in offer.images}
        ],
        gpu_model=chosen.get("gpu_model"),
        payer=chosen.get("payer"),
        max_run_hours=str(chosen.get("max_run_hours") or ""),
        runs={offer.profile: _runs(offer) for offer in offers.offers},
        free={offer.profile: _free_by_model(offer) for offer in offers.offers},
        titles={image.tag: image.title for offer in offers.offers for image in offer.images},
        console_url=console_url,
    )


def _runs(offer: wire.Offer) -> list[tuple[int, str]]:
    """Return the run times, in hours, that a member may choose for a profile, with their cost.

    One that the balance cannot carry to its end is no choice: the server would stop before.
    """
    limits = [offer.max_run_ms]
    if len(offer.payers) <= 1:
        limits.append(offer.lasts_ms)
    longest_ms = min((limit for limit in limits if limit is not None), default=None)
    return [
        (hours, tokens_text(hours * _HOUR_MS * offer.rate_mtok_h) if offer.rate_mtok_h else "")
        for hours in _RUN_HOURS
        # The longest run itself is what happens unless a member chooses.
        if (longest_ms is None or hours * _HOUR_MS <= longest_ms)
        and (offer.max_run_ms is None or hours * _HOUR_MS < offer.max_run_ms)
    ]


def _free_by_model(offer: wire.Offer) -> dict[str, int]:
    """Return how many servers of a profile would find a place now, by GPU model."""
    found: dict[str, int] = {}
    for pool in offer.availability.pools if offer.availability else ():
        if pool.gpu_model:
            found[pool.gpu_model] = found.get(pool.gpu_model, 0) + pool.free
    return found


def _day_text(iso_date: str) -> str:
    """Return a date as the language writes it; what is none stays."""
    try:
        day = date.fromisoformat(iso_date)
    except ValueError:
        return iso_date
    return day_text(day)


def closed_form(refusal: wire.Refusal) -> str:
    """Return what the start page shows while nothing can be chosen, as HTML."""
    return _template("closed.html").render(refusal=refusal)


def break_glass_form(
    profiles: Sequence[wire.KnownProfile], *, chosen: Mapping[str, Any], charged: bool
) -> str:
    """Return what can be started while balances cannot be checked, as HTML."""
    names = [profile.profile for profile in profiles]
    profile = chosen.get("profile")
    return _template("break_glass.html").render(
        profiles=profiles,
        profile=profile if profile in names else names[0],
        image=chosen.get("image"),
        gpu_model=chosen.get("gpu_model"),
        charged=charged,
    )


# Compiled now, while the configuration is read: at the first look it would hold the hub's event
# loop for some 30 ms.
for _name in ("selector.html", "closed.html", "break_glass.html"):
    _template(_name)
