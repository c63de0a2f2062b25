"""What the sign-in page shows of a catalogue, in both languages."""

import pytest

from jhub_tokens import i18n
from jhub_tokens.catalogue import CatalogueError, parse_catalogue
from jhub_tokens.shop_window import listed_plans, plan_cards

CATALOGUE = """
title: Test
{more}
default_plan: basic
adopt_profile: cpu
profiles:
  cpu: {{title: CPU, rate: 1, cpu: 1, memory: 8G}}
  gpu: {{title: GPU, rate: 10, cpu: 8, memory: 32G, gpus: 1, gpu_models: [T4, A100]}}
  free: {{title: Free, rate: 0, cpu: 1, memory: 1G}}
plans:
  basic: {{title: Basic, tokens: 1, profiles: [cpu, free]}}
  pro:
    title: Pro
    tokens: 300
    price: 20 EUR
    profiles: [cpu, gpu]
    max_servers: 2
    trial: {{tokens: 20, duration: 7d}}
  staff: {{title: Staff, tokens: 5, profiles: [cpu], listed: false}}
"""


def catalogue(more=""):
    return parse_catalogue(CATALOGUE.format(more=more), "test.yaml")


def cards():
    found = catalogue()
    profiles = {name: (p.title, p.rate_mtok_h, p) for name, p in found.profiles.items()}
    return plan_cards(listed_plans(found), profiles)


def test_a_plan_says_what_it_includes_and_costs():
    basic, pro = cards()
    assert (basic.title, basic.tokens, basic.price, basic.trial) == (
        "Basic",
        "1 token a month",
        "",
        "",
    )
    assert basic.servers == "one server at a time"
    assert [(i.title, i.rate, i.lasts) for i in basic.included] == [
        ("CPU", "1 token/h", "up to 1 h"),
        ("Free", "free", ""),
    ]
    assert (pro.tokens, pro.price) == ("300 tokens a month", "€20.00 a month")
    assert pro.servers == "2 servers at a time"
    assert pro.trial == "Free trial: 20 tokens for 7 d"
    assert pro.included[1].hardware == "8 cores · 32 GB · 1 × T4 or A100"
    assert pro.included[1].lasts == "up to 30 hours"


def test_in_chinese():
    with i18n.speaking("zh"):
        _basic, pro = cards()
    assert (pro.tokens, pro.price) == ("每月 300 个代币", "每月 €20.00")
    assert pro.included[1].hardware == "8 核 · 32 GB · 1 × T4 或 A100"
    assert pro.included[1].lasts == "最多 30 小时"


@pytest.mark.parametrize(
    ("written", "english", "chinese"),
    [
        ("", "", ""),
        ("welcome: Come in", "Come in", "Come in"),
        ("welcome: {en: Come in, zh: 请进}", "Come in", "请进"),
        ("welcome: {zh: 请进}", "请进", "请进"),
        ("welcome: {en: Come in}", "Come in", "Come in"),
    ],
)
def test_an_operator_s_text_is_one_for_all_or_one_for_each_language(written, english, chinese):
    welcome = catalogue(written).welcome
    assert i18n.spoken(welcome) == english
    with i18n.speaking("zh"):
        assert i18n.spoken(welcome) == chinese


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("welcome: 7", "7 is not text"),
        ("announcement: {fr: Bonjour}", "'fr' is no language of the pages"),
        ("announcement: {en: [a]}", "a list is not text"),
    ],
)
def test_what_is_no_text_is_told(written, says):
    with pytest.raises(CatalogueError, match=says):
        catalogue(written)
