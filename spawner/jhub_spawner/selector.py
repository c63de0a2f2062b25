"""The profile selector: the part of the start page where a member chooses what to start.

It is plain HTML that works without JavaScript and by keyboard: a group of radio buttons, one
card each, with the selects of a card named after its profile (see `jhub_spawner.choice`).
Everything in it is escaped, since titles and names come from a catalogue that others write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2 import Template as JinjaTemplate

from jhub_spawner.refused import refusal_text
from jhub_tokens import wire

__all__ = ["break_glass_form", "closed_form", "render_selector"]


#: What the selector offers; an API call may name any time.
_RUN_HOURS = (1, 2, 4, 8, 12, 24)


@cache
def _template(name: str) -> JinjaTemplate:
    environment = Environment(
        loader=PackageLoader("jhub_spawner"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["refusal"] = refusal_text
    return environment.get_template(name)


# Compiled now, while the configuration is read: at the first look it would hold the hub's event
# loop for some 30 ms.
for _name in ("selector.html", "closed.html", "break_glass.html"):
    _template(_name)


def render_selector(offers: wire.Offers, *, chosen: Mapping[str, Any], console_url: str) -> str:
    """Return the selector for these offers as HTML.

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
    return _template("selector.html").render(
        standing=offers.standing,
        offers=offers.offers,
        profile=profile,
        image=chosen.get("image"),
        gpu_model=chosen.get("gpu_model"),
        payer=chosen.get("payer"),
        max_run_hours=str(chosen.get("max_run_hours") or ""),
        hours={offer.profile: _hours(offer) for offer in offers.offers},
        titles={image.tag: image.title for offer in offers.offers for image in offer.images},
        console_url=console_url,
    )


def _hours(offer: wire.Offer) -> list[int]:
    """Return the run times, in hours, that a member may choose for a profile."""
    longest_ms = offer.max_run_ms
    return [h for h in _RUN_HOURS if longest_ms is None or h * 3_600_000 <= longest_ms]


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
