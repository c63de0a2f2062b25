"""What operators write in one language for everybody, or in each language of the pages."""

import pytest

from jhub_tokens import i18n
from jhub_tokens.catalogue import check_catalogue, parse_catalogue

CATALOGUE = """
title: {en: Workspaces, zh: 工作空间}
banner: For everybody
top_up: {zh: 请联系管理员。}
default_plan: basic
adopt_profile: cpu
pools:
  t4: {title: {en: T4 nodes, zh: T4 节点}, gpu_model: T4, selector: {gpu: t4}}
profiles:
  cpu: {rate: 1, cpu: 1, memory: 8G}
  gpu: {title: {en: One GPU, zh: 单 GPU}, description: Same, rate: 9, cpu: 1, memory: 1G, gpus: 1}
plans:
  basic: {title: {en: Basic, zh: 基础版}, tokens: 5, profiles: [cpu]}
images:
  new: {title: {zh: 新镜像, en: New image}, accelerator: cpu}
teams:
  bio: {title: {en: Biology, zh: 生物组}, group: bio, plan: basic}
cost_centres:
  lab: {title: {en: Laboratory, zh: 实验室}, members: [ada]}
"""


@pytest.fixture
def catalogue():
    return parse_catalogue(CATALOGUE, "test.yaml")


def texts(catalogue):
    """All that is called something, by what it is."""
    return {
        "": (catalogue.title, catalogue.banner, catalogue.top_up),
        "cpu": (catalogue.profiles["cpu"].title,),
        "gpu": (catalogue.profiles["gpu"].title, catalogue.profiles["gpu"].description),
        "t4": (catalogue.pools["t4"].title,),
        "basic": (catalogue.plans["basic"].title,),
        "new": (catalogue.images["new"].title,),
        "bio": (catalogue.teams["bio"].title,),
        "lab": (catalogue.cost_centres["lab"].title,),
    }


ENGLISH = {
    "": ("Workspaces", "For everybody", "请联系管理员。"),  # rather this than nothing
    "cpu": ("cpu",),
    "gpu": ("One GPU", "Same"),
    "t4": ("T4 nodes",),
    "basic": ("Basic",),
    "new": ("New image",),
    "bio": ("Biology",),
    "lab": ("Laboratory",),
}
CHINESE = {
    "": ("工作空间", "For everybody", "请联系管理员。"),
    "cpu": ("cpu",),
    "gpu": ("单 GPU", "Same"),
    "t4": ("T4 节点",),
    "basic": ("基础版",),
    "new": ("新镜像",),
    "bio": ("生物组",),
    "lab": ("实验室",),
}


def test_the_books_keep_the_english_one(catalogue):
    assert texts(catalogue) == ENGLISH


def test_each_is_spoken_in_the_language_of_the_task(catalogue):
    assert texts(catalogue.spoken()) == ENGLISH
    with i18n.speaking("zh"):
        assert texts(catalogue.spoken()) == CHINESE
        assert catalogue.plans["basic"].spoken().title == "基础版"
    assert texts(catalogue.spoken("zh")) == CHINESE
    assert texts(catalogue.spoken("zh").spoken("en")) == ENGLISH, "there and back"


def test_only_what_is_called_something_else_differs(catalogue):
    chinese = catalogue.spoken("zh")
    assert chinese.profiles["cpu"] is catalogue.profiles["cpu"]
    gpu = catalogue.profiles["gpu"]
    assert chinese.profiles["gpu"] == gpu.model_copy(update={"title": "单 GPU"})
    plain = parse_catalogue(
        "default_plan: a\nadopt_profile: c\nprofiles: {c: {rate: 1, cpu: 1, memory: 1G}}\n"
        "plans: {a: {tokens: 1, profiles: [c]}}\n"
    )
    assert plain.spoken("zh") is plain


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            "{en: Basic, zh: 基础版}",
            "{en: Basic, de: Grundtarif}",
            "test.yaml:13: plans.basic.title: 'de' is no language of the pages. "
            "Write one of en, zh",
        ),
        (
            "{en: T4 nodes, zh: T4 节点}",
            "{en: 4}",
            'test.yaml:8: pools.t4.title: 4 is not text. Put it in quotes: "4"',
        ),
        (
            "top_up: {zh: 请联系管理员。}",
            "top_up: [a, b]",
            "test.yaml:4: top_up: a list is not text. Write a text",
        ),
    ],
)
def test_what_is_no_text_is_named_with_the_remedy(before, after, problem):
    found = check_catalogue(CATALOGUE.replace(before, after), "test.yaml").errors
    assert [str(each) for each in found] == [problem]
