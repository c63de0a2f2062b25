"""The selector is valid, escaped, and usable without a script."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from jhub_spawner.refused import unavailable
from jhub_spawner.selector import closed_form, render_selector
from jhub_tokens import i18n, wire

EVIL = "<script>alert('x')</script>\"'"


class Elements(HTMLParser):
    """All elements with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("input", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            attrs
            for name, attrs in self.found
            if name == tag and attributes.items() <= attrs.items()
        ]


def standing(**changes: Any) -> wire.Standing:
    values: dict[str, Any] = {
        "member_id": "m",
        "name": EVIL,
        "state": "active",
        "plan": "p",
        "plan_title": EVIL,
        "balance": wire.Amount.of(3_600_000_000),
        "allotment": wire.Amount.of(3_600_000_000),
        "used": wire.Amount.of(0),
        "period_start_ms": 0,
        "period_end_ms": 1,
        "period_end": "1 Dec",
        "burn_mtok_h": 0,
        "runs_out_at_ms": None,
        "runs_out_at": None,
        "sessions": [],
        "notices": [
            wire.NoticeItem(
                notice_id="n",
                kind="stopped_dry",
                severity="danger",
                text=EVIL,
                created_at_ms=0,
                created_at="now",
            )
        ],
        "as_of_ms": 0,
        "zone": "UTC",
        "banner": EVIL,
    }
    return wire.Standing(**{**values, **changes})


def offer(profile: str, *, open_: bool = True, images: int = 2) -> wire.Offer:
    return wire.Offer(
        profile=profile,
        title=f"{profile} {EVIL}",
        hardware=wire.HardwareModel(
            cpu=1, memory_bytes=1, gpus=1, gpu_models=["T4", EVIL], text=EVIL
        ),
        rate_mtok_h=1000,
        rate="1 token/h",
        images=[
            wire.ImageChoice(
                tag=f"i{n}{EVIL}", title=EVIL, lifecycle="retiring", until=EVIL, successor=EVIL
            )
            for n in range(images)
        ],
        open=open_,
        refusal=None if open_ else wire.Refusal(code="plan", message=EVIL),
        lasts_until="tomorrow" if open_ else None,
    )


def render(*offers: wire.Offer, **chosen: str) -> Elements:
    html = render_selector(
        wire.Offers(standing=standing(), offers=list(offers)),
        chosen=chosen,
        console_url="/services/tokens/",
    )
    elements = Elements(html)
    assert not elements.all("script")
    assert not elements.open
    ids = [attrs["id"] for _, attrs in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    for label in elements.all("label"):
        assert label["for"] in ids
    return elements


def test_everything_is_escaped_and_labelled() -> None:
    page = render(offer(EVIL), offer("b", open_=False))
    radios = page.all("input", type="radio", name="profile")
    assert [radio["value"] for radio in radios] == [EVIL, "b"]
    assert "disabled" not in radios[0]
    assert "disabled" in radios[1]
    assert [select["name"] for select in page.all("select")] == [
        f"image:{EVIL}",
        f"gpu_model:{EVIL}",
        f"max_run_hours:{EVIL}",
    ]


def test_who_can_pay_is_a_choice_only_if_there_is_one() -> None:
    own = wire.PayerChoice(payer="", title="Own", balance=wire.Amount.of(0))
    team = wire.PayerChoice(payer=EVIL, title=EVIL, balance=wire.Amount.of(0), left=None)
    page = render(offer("a").model_copy(update={"payers": [own, team]}), payer=EVIL)
    assert [select["name"] for select in page.all("select")][1] == "payer:a"
    assert [o["value"] for o in page.all("option") if "selected" in o] == [EVIL]
    both = offer("a").model_copy(update={"payers": [own, team]})
    assert "Lasts until" not in html_of(both), "each choice says it"
    assert "Lasts until" in html_of(offer("a"))
    page = render(offer("a").model_copy(update={"payers": [team]}))
    assert [field["value"] for field in page.all("input", type="hidden")] == [EVIL]
    page = render(offer("a").model_copy(update={"payers": [own]}))
    assert not page.all("select", name="payer:a")


def test_run_times_are_those_that_the_profile_allows() -> None:
    page = render(offer("a").model_copy(update={"max_run_ms": 5 * 3_600_000}), max_run_hours="4")
    hours = [o["value"] for o in page.all("option") if (o["value"] or "").isdigit()]
    assert hours == ["1", "2", "4"]


def test_the_longest_run_is_no_choice_of_its_own_and_free_has_no_price() -> None:
    free = offer("a").model_copy(update={"max_run_ms": 2 * 3_600_000, "rate_mtok_h": 0})
    html = html_of(free)
    assert ">after 1 h</option>" in html and "after 2 h" not in html


def test_a_balance_beyond_the_allotment_is_no_part_of_it() -> None:
    html = render_selector(
        wire.Offers(
            standing=standing(balance=wire.Amount.of(28 * 3_600_000_000)), offers=[offer("a")]
        ),
        chosen={},
        console_url="/",
    )
    assert "<strong>28 tokens</strong> in the plan" in html


def test_the_last_choice_is_the_first_offered() -> None:
    page = render(offer("a"), offer("b"), profile="b", image=f"i1{EVIL}", gpu_model="T4")
    assert [r["value"] for r in page.all("input", type="radio") if "checked" in r] == ["b"]
    selected = [o["value"] for o in page.all("option") if "selected" in o]
    assert selected == [f"i1{EVIL}", "T4"]


def test_a_closed_last_choice_falls_back_to_what_is_open() -> None:
    page = render(offer("a", open_=False), offer("b"), profile="a")
    assert [r["value"] for r in page.all("input", type="radio") if "checked" in r] == ["b"]


def test_nothing_open_and_odd_stored_options() -> None:
    page = render(offer("a", open_=False))
    assert page.all("div", role="alert")
    html = render_selector(
        wire.Offers(standing=standing(), offers=[offer("a")]),
        chosen={"profile": ["x"], "image": {}},
        console_url="/",
    )
    assert 'value="a"' in html


def test_closed_form_while_the_service_is_away() -> None:
    assert "balance cannot be checked" in closed_form(unavailable())


def pool(title: str, model: str | None, free: int, **more: Any) -> wire.PoolAvailability:
    return wire.PoolAvailability(
        pool=title, title=title, gpu_model=model, free=free, total=4, nodes=2, **more
    )


def html_of(*offers: wire.Offer, **chosen: Any) -> str:
    return render_selector(
        wire.Offers(standing=standing(banner=""), offers=list(offers)),
        chosen=chosen,
        console_url="/services/tokens/",
    )


def test_what_is_free_now_is_shown_where_the_cluster_tells() -> None:
    assert "jt-availability" not in html_of(offer("a"))
    pools = [pool("T4 nodes", "T4", 3), pool("A nodes", EVIL, 0, waiting=2, expected_wait_s=600)]
    other = wire.Alternative(profile="c", title=EVIL, rate_mtok_h=1)
    free = wire.Availability(pools=pools, text="3 of 8", alternatives=[other])
    html = html_of(offer("a").model_copy(update={"availability": free}))
    Elements(html)
    assert "T4 nodes: 3 of 4 free" in html
    assert "A nodes: none of 4 free, 2 waiting, expected in 10 min" in html
    assert "T4 (3 free)" in html
    assert "Free at once: &lt;script&gt;" in html


def test_a_run_time_has_its_price_and_is_carried_by_the_balance() -> None:
    runs = offer("a").model_copy(update={"rate_mtok_h": 2500, "lasts_ms": 5 * 3_600_000})
    html = html_of(runs)
    assert "after 2 h, at most 5 tokens" in html
    assert "after 8 h" not in html, "the balance would end it before"
    payers = [
        wire.PayerChoice(payer=name, title=name, balance=wire.Amount.of(0)) for name in ("", "t")
    ]
    assert "after 8 h" in html_of(runs.model_copy(update={"payers": payers}))


def test_an_image_that_is_gone_is_told() -> None:
    assert "jt-gone" not in html_of(offer("a"), profile="a", image=f"i1{EVIL}")
    html = html_of(offer("a"), profile="a", image="of-old")
    assert "The image of your last start, of-old, can no longer be started." in html


def test_many_images_fold_their_lifecycles() -> None:
    assert "<details" not in html_of(offer("a", images=3))
    assert "<details" in html_of(offer("a", images=4))


def test_in_chinese() -> None:
    retiring = wire.ImageChoice(tag="t", title="T", lifecycle="retiring", until="2027-03-01")
    with i18n.speaking("zh"):
        html = html_of(
            offer("a").model_copy(update={"images": [retiring]}), offer("b", open_=False)
        )
    assert "选择配置" in html
    assert "2027年3月1日 停用" in html
    assert "What to start" not in html
