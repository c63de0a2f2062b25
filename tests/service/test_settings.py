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


@pytest.mark.parametrize("port", ["0", "65536", "ssh"])
def test_a_port_of_sshd_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(SettingsError, match="JHUB_TOKENS_SSH_POD_PORT"):
        read(JHUB_TOKENS_SSH_POD_PORT=port)


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


def test_replicas_may_be_given_a_key_of_their_own_for_cookies() -> None:
    given = {"JHUB_TOKENS_COOKIE_SECRET": "a-secret-that-all-the-replicas-share"}
    assert read(**given).cookie_secret == read(JUPYTERHUB_API_TOKEN="x", **given).cookie_secret
    assert read(**given).cookie_secret != read().cookie_secret
    assert "a-secret" not in repr(read(**given))


def test_a_service_may_be_forbidden_to_migrate() -> None:
    assert read().may_migrate
    assert not read(JHUB_TOKENS_MIGRATE="0").may_migrate


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        ([], {"JHUB_TOKENS_COOKIE_SECRET": "short"}, "JHUB_TOKENS_COOKIE_SECRET has 5 characters"),
        ([], {"JHUB_TOKENS_MIGRATE": "maybe"}, "JHUB_TOKENS_MIGRATE=maybe"),
        ([], {"JHUB_TOKENS_CATALOGUE": ""}, "--catalogue FILE or set JHUB_TOKENS_CATALOGUE"),
        ([], {"JHUB_TOKENS_DATABASE": ""}, "--database URL or set JHUB_TOKENS_DATABASE"),
        ([], {"JUPYTERHUB_API_TOKEN": ""}, "JUPYTERHUB_API_TOKEN"),
        (["--url", "ftp://here"], {}, "--url ftp://here"),
        (["--url", "http://127.0.0.1:99999"], {}, "--url"),
        (["--url", "http://"], {}, "--url"),
        (["--port", "70000"], {}, "--port 70000"),
        ([], {"JHUB_TOKENS_LOG_FORMAT": "xml"}, "JHUB_TOKENS_LOG_FORMAT=xml"),
        ([], {"JHUB_TOKENS_OPEN_METRICS": "maybe"}, "JHUB_TOKENS_OPEN_METRICS=maybe"),
        ([], {"JHUB_TOKENS_DRAIN_S": "5s"}, "JHUB_TOKENS_DRAIN_S=5s: write whole seconds, 0 to"),
    ],
)
def test_a_mistake_names_the_setting(
    arguments: list[str], changes: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(*arguments, **changes)
    assert words in str(caught.value)


MAIL = {
    "JHUB_TOKENS_SMTP_HOST": "mail.example.org",
    "JHUB_TOKENS_MAIL_FROM": "tokens@example.org",
    "JHUB_TOKENS_PUBLIC_URL": "https://hub.example.org/services/tokens",
}
HOOKS = {
    "JHUB_TOKENS_WEBHOOK_URLS": "https://a.example.org/x https://b.example.org/y",
    "JHUB_TOKENS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


def test_there_is_no_channel_unless_one_is_named() -> None:
    settings = read()
    assert (settings.mail, settings.webhook, settings.public_url) == (None, None, "")


@pytest.mark.parametrize(
    ("security", "port"), [("", 587), ("starttls", 587), ("tls", 465), ("none", 25)]
)
def test_a_mail_server(security: str, port: int) -> None:
    settings = read(**MAIL, JHUB_TOKENS_SMTP_SECURITY=security)
    assert settings.mail is not None and settings.mail.port == port
    assert settings.public_url == "https://hub.example.org/services/tokens/"


def test_secrets_may_lie_in_files_and_are_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    changes = {"JHUB_TOKENS_SMTP_USER": "u", "JHUB_TOKENS_SMTP_PASSWORD_FILE": str(secret)}
    settings = read(**MAIL, **HOOKS, **changes)
    assert settings.mail is not None and settings.mail.password == "s3cret"
    assert settings.webhook is not None and len(settings.webhook.secret) == 24
    assert "s3cret" not in repr(settings) and repr(settings.webhook.secret) not in repr(settings)


def test_a_webhooks_channel_keeps_its_name() -> None:
    both = read(**HOOKS).webhook
    one = read(**{**HOOKS, "JHUB_TOKENS_WEBHOOK_URLS": "https://b.example.org/y"}).webhook
    assert both is not None and one is not None
    assert set(one.channels) < set(both.channels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"JHUB_TOKENS_SMTP_SECURITY": "ssl"}, "write one of starttls, tls, none"),
        ({"JHUB_TOKENS_SMTP_PORT": "smtp"}, "JHUB_TOKENS_SMTP_PORT=smtp: give a number"),
        ({"JHUB_TOKENS_SMTP_PORT": "65536"}, "give a number from 1"),
        ({"JHUB_TOKENS_MAIL_FROM": "tokens"}, "write an address"),
        ({"JHUB_TOKENS_MAIL_FROM": ""}, "JHUB_TOKENS_MAIL_FROM"),
        ({"JHUB_TOKENS_SMTP_USER": "u"}, "together, or neither"),
        (
            {"JHUB_TOKENS_SMTP_USER": "u", "JHUB_TOKENS_SMTP_PASSWORD": "p",
             "JHUB_TOKENS_SMTP_SECURITY": "none"},
            "in the clear",
        ),
        ({"JHUB_TOKENS_SMTP_PASSWORD_FILE": "/nowhere"}, "/nowhere: cannot be read"),
        ({"JHUB_TOKENS_PUBLIC_URL": ""}, "whole address"),
        ({"JHUB_TOKENS_PUBLIC_URL": "/services/tokens/"}, "whole address"),
        ({**HOOKS, "JHUB_TOKENS_WEBHOOK_URLS": "ftp://x"}, "ftp://x is no address"),
        ({**HOOKS, "JHUB_TOKENS_WEBHOOK_SECRET": ""}, "24 to 64 random bytes"),
        ({**HOOKS, "JHUB_TOKENS_WEBHOOK_SECRET": "whsec_äöü"}, "24 to 64 random bytes"),
        ({**HOOKS, "JHUB_TOKENS_WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "24 to 64 random bytes"),
    ],
)  # fmt: skip
def test_a_channel_that_cannot_be_used_is_said(changes: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as problem:
        read(**{**MAIL, **changes})
    assert words in str(problem.value)


def test_seals_are_made_every_hour_unless_told_otherwise() -> None:
    assert (read().seal_every_ms, read().seal_file) == (3_600_000, None)
    changed = read(
        JHUB_TOKENS_SEAL_MINUTES="5", JHUB_TOKENS_SEAL_FILE="/seals", JHUB_TOKENS_SEAL_KEY="k"
    )
    assert (changed.seal_every_ms, changed.seal_file) == (300_000, Path("/seals"))
    assert read(JHUB_TOKENS_SEAL_MINUTES="0").seal_every_ms == 0
    assert "seal_key" not in repr(changed), "a secret stays out of logs"
    for wrong in ("soon", "-1", "1.5", "20000"):
        with pytest.raises(SettingsError, match="JHUB_TOKENS_SEAL_MINUTES"):
            read(JHUB_TOKENS_SEAL_MINUTES=wrong)
