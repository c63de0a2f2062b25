"""The hub's own pages in another language: what its templates hold is looked up, nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import DictLoader, Environment
from jupyterhub._data import DATA_FILES_PATH

from jhub_tokens import i18n
from jhub_tokens.hub.hub_texts import HUB_TEXTS
from jhub_tokens.hub.languages import language_of, remember_language
from jhub_tokens.hub.translating import PageTexts, untranslated

TEMPLATES = sorted((Path(DATA_FILES_PATH) / "templates").glob("*.html"))
#: Names, and what a script replaces before anybody sees it.
AS_IT_IS = {"JupyterHub", "URL", "N/A", "The error", "at"}


class Handler:
    """A request handler of the hub, as far as languages go."""

    def __init__(self, accepts: str = "", cookie: str | None = None, user: str = "") -> None:
        self.request = SimpleNamespace(headers={"Accept-Language": accepts}, uri="/hub/login")
        self._cookie = cookie
        self._jupyterhub_user = SimpleNamespace(name=user) if user else None

    def get_cookie(self, name: str) -> str | None:
        assert name == i18n.COOKIE
        return self._cookie

    def static_url(self, path: str) -> str:
        return path


def render(source: str, handler: Handler | None = None, **values: Any) -> str:
    environment = Environment(
        loader=DictLoader({"page.html": source}), autoescape=True, extensions=[PageTexts]
    )
    handler = handler or Handler("zh-CN")
    return environment.get_template("page.html").render(static_url=handler.static_url, **values)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_text_of_the_hub_is_known(path: Path) -> None:
    assert set(untranslated(path.read_text())) <= AS_IT_IS


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_in_english_the_hub_s_templates_stay_as_they_are(path: Path) -> None:
    source = path.read_text()
    texts = PageTexts(Environment())
    plain, ours = Environment(), Environment(extensions=[PageTexts])

    def written(environment: Environment) -> str:
        tokens = environment._tokenize(source, path.name)
        held = [(t.type, t.value) for t in tokens if t.type in ("data", "string")]
        return " ".join("".join(str(value) for kind, value in held if kind == "data").split())

    assert texts.identifier in ours.extensions
    known = [text for text in HUB_TEXTS if f">{text}<" in source]
    for text in known:
        assert text in written(plain)
        assert f">{text}<" not in written(ours)
    assert render("<b>Home</b>", Handler("en")) == "<b>Home</b>"


def test_what_stands_in_tags_and_between_them() -> None:
    source = (
        '<html lang="en"><a title="Home" class="Home" data-x="Home">\n  Home\n</a>'
        "{% if running %}Stop My Server{% else %}Start{% endif %}"
    )
    assert render(source, running=False) == (
        '<html lang="zh-CN"><a title="首页" class="Home" data-x="Home">\n  首页\n</a>启动'
    )


def test_scripts_styles_and_what_the_hub_fills_in_are_left_alone() -> None:
    source = (
        "<script>var a = '{{ name }}'; b = '<b>Home</b>';</script><style>Home</style>"
        '<i id="{{ name }}" title="Home">{{ name }}</i>'
    )
    assert render(source, name="Home") == (
        "<script>var a = 'Home'; b = '<b>Home</b>';</script><style>Home</style>"
        '<i id="Home" title="首页">Home</i>'
    )


def test_what_is_filled_into_our_own_messages_is_escaped() -> None:
    source = "{{ _('Open %(server)s', server=name) }}"
    assert render(source, name="<b>") == "打开 &lt;b&gt;"
    assert render(source, Handler("en"), name="<b>") == "Open &lt;b&gt;"


def test_a_page_without_a_handler_is_in_the_language_of_the_task() -> None:
    environment = Environment(autoescape=True, extensions=[PageTexts])
    with i18n.speaking("zh"):
        assert environment.from_string("<b>Home</b>").render() == "<b>首页</b>"


def test_whose_language_counts() -> None:
    try:
        assert language_of(Handler("zh, en;q=0.5")) == "zh"
        assert language_of(Handler("zh", cookie="en")) == "en"
        assert language_of(Handler("zh", cookie="nonsense")) == "zh"
        remember_language("mei", "zh")
        assert language_of(Handler("en", cookie="en", user="mei")) == "zh", "as they have chosen"
        assert language_of(Handler("en", user="tom")) == "en"
        remember_language("mei", None)
        assert language_of(Handler("en", user="mei")) == "en"
    finally:
        remember_language("mei", None)
