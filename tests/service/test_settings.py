"""Settings: from the command line, then the environment; mistakes name what to write instead."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from jhub_tokens.service.settings import Settings, SettingsError, add_arguments, settings_from

ENVIRONMENT = {
    "JHUB_TOKENS_CATALOGUE": "/etc/catalogue.yaml",
    "JHUB_TOKENS_DATABASE": "/var/lib/tokens.sqlite",
    "JUPYTERHUB_API_TOKEN": "a-token",
}


def read(*arguments: str, **changes: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings_from(parser.parse_args(arguments), {**ENVIRONMENT, **changes})


def test_a_hubs_environment_is_enough() -> None:
    settings = read(
        JUPYTERHUB_SERVICE_URL="http://127.0.0.1:4567",
        JUPYTERHUB_SERVICE_NAME="credits",
        JUPYTERHUB_SERVICE_PREFIX="/base/services/credits/",
        JUPYTERHUB_BASE_URL="/base/",
        JUPYTERHUB_API_URL="http://127.0.0.1:8081/base/hub/api",
        JUPYTERHUB_CLIENT_ID="service-credits",
        JUPYTERHUB_HOST="https://hub.example.org",
    )
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 4567)
    assert settings.base_url == "/base/services/credits/"
    assert settings.hub_url == "https://hub.example.org/base/hub/"
    assert settings.oauth_client_id == "service-credits"


def test_it_outlives_its_starter_unless_told_otherwise() -> None:
    url = "http://127.0.0.1:4567"
    name = "JHUB_TOKENS_EXIT_WITH_PARENT"
    assert not read(JUPYTERHUB_SERVICE_URL=url).exit_with_parent, "this says where to listen only"
    assert not read(JUPYTERHUB_SERVICE_URL=url, **{name: "0"}).exit_with_parent
    assert read(JUPYTERHUB_SERVICE_URL=url, **{name: "1"}).exit_with_parent


def test_without_a_hub() -> None:
    settings = read()
    assert settings.base_url == "/services/tokens/"
    assert settings.hub_url == "/hub/"
    assert settings.hub_api_url == "http://127.0.0.1:8081/hub/api"
    assert not settings.exit_with_parent
    assert settings.sqlite_path == Path("/var/lib/tokens.sqlite")


def test_the_command_line_comes_first() -> None:
    settings = read(
        "--catalogue", "mine.yaml", "--database", "postgresql://db/t", "--url", "0.0.0.0:80",
        "--port", "0", "--log-format", "json",
    )  # fmt: skip
    assert settings.catalogue_path == Path("mine.yaml")
    assert settings.sqlite_path is None
    assert (settings.listen_host, settings.listen_port) == ("0.0.0.0", 0)
    assert settings.log_format == "json"


def test_cookies_are_signed_with_a_key_that_stays() -> None:
    assert read().cookie_secret == read().cookie_secret
    assert read().cookie_secret != read(JUPYTERHUB_API_TOKEN="another").cookie_secret
    assert b"a-token" not in read().cookie_secret


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        ([], {"JHUB_TOKENS_CATALOGUE": ""}, "--catalogue FILE or set JHUB_TOKENS_CATALOGUE"),
        ([], {"JHUB_TOKENS_DATABASE": ""}, "--database URL or set JHUB_TOKENS_DATABASE"),
        ([], {"JUPYTERHUB_API_TOKEN": ""}, "JUPYTERHUB_API_TOKEN"),
        (["--url", "ftp://here"], {}, "--url ftp://here"),
        (["--url", "http://127.0.0.1:99999"], {}, "--url"),
        (["--url", "http://"], {}, "--url"),
        (["--port", "70000"], {}, "--port 70000"),
        ([], {"JHUB_TOKENS_LOG_FORMAT": "xml"}, "JHUB_TOKENS_LOG_FORMAT=xml"),
        ([], {"JHUB_TOKENS_OPEN_METRICS": "maybe"}, "JHUB_TOKENS_OPEN_METRICS=maybe"),
    ],
)
def test_a_mistake_names_the_setting(
    arguments: list[str], changes: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(*arguments, **changes)
    assert words in str(caught.value)
