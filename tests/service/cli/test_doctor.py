"""What `doctor` says of an installation, asked in this process."""

from typing import Any

import asyncpg
import pytest

from wastewise_jobs.cli.checks import Finding, Grade, about_settings, examine
from wastewise_jobs.db.opening import Addresses
from wastewise_jobs.settings import Settings

SECRET = "a secret that is long enough for HS256"
MAIL = {"email_from": "a@b.example", "admin_email": "c@d.example"}


def settings_with(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


async def asked(dsn: str, **given: Any) -> dict[str, Finding]:
    found = await examine(settings_with(**given), Addresses(dsn, dsn), repair=False)
    return {one.check: one for one in found}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"smtp_url": "smtp://mail.example", **MAIL}, "e-mail by SMTP"),
        ({"resend_api_key": "re_1", **MAIL}, "e-mail"),
        (
            {"slack_webhook_url": "https://hooks.example/x", "pagerduty_key": "k"},
            "Slack, PagerDuty",
        ),
    ],
)
def test_every_channel_that_is_configured_is_named(given: dict[str, Any], says: str) -> None:
    found = {one.check: one for one in about_settings(settings_with(**given))}
    assert (found["channels"].verdict, found["channels"].says) == (Grade.GOOD, says)


def test_without_a_channel_each_way_to_one_is_named() -> None:
    found = {one.check: one for one in about_settings(settings_with())}
    for variable in ("RESEND_API_KEY", "SMTP_URL", "SLACK_WEBHOOK_URL", "PAGERDUTY_KEY"):
        assert variable in found["channels"].advice


def test_a_proxy_is_shown_without_its_login_and_smtp_is_said_to_use_none() -> None:
    given = {
        "https_proxy": "http://user:hunter2@proxy.example:3128",
        "no_proxy": "a.example,10.0.0.0/8",
        "smtp_url": "smtp://mail.example",
        **MAIL,
    }
    found = {one.check: one for one in about_settings(settings_with(**given))}
    assert found["proxy"].says == (
        "https:// by proxy.example:3128, but for a.example, 10.0.0.0/8; SMTP uses none"
    )
    assert "hunter2" not in str(found)


def test_all_that_verifies_tokens_is_named() -> None:
    given = {
        "jwt_secret": SECRET,
        "jwt_secret_previous": SECRET,
        "jwt_jwks_url": "https://issuer.example/keys",
    }
    found = {one.check: one for one in about_settings(settings_with(**given))}
    assert found["tokens"].says == (
        "verified by JWT_SECRET, JWT_SECRET_PREVIOUS, the keys at https://issuer.example/keys"
    )


async def test_words_of_an_address_that_have_no_effect_are_named(db: str) -> None:
    dsn = f"{db}{'&' if '?' in db else '?'}channel_binding=require&connection_limit=1"
    found = await asked(dsn)
    assert found["address"].verdict == Grade.NOTE
    assert found["address"].says == "without effect: channel_binding, connection_limit"
    assert found["listener"].verdict == Grade.GOOD


@pytest.mark.parametrize("may", [True, False])
async def test_a_schema_in_which_everybody_may_create_is_noted(
    db: str, pool: asyncpg.Pool, *, may: bool
) -> None:
    word = "GRANT CREATE ON SCHEMA public TO" if may else "REVOKE CREATE ON SCHEMA public FROM"
    await pool.execute(f"{word} PUBLIC")
    found = (await asked(db))["public"]
    assert found.verdict == (Grade.NOTE if may else Grade.GOOD)
    assert ("REVOKE CREATE ON SCHEMA public FROM PUBLIC" in found.advice) == may


async def test_on_a_database_without_a_schema_only_its_lack_is_explained(empty_db: str) -> None:
    found = await asked(empty_db)
    assert "run `wastewise-jobs migrate`" in found["schema"].advice
    for check in ("queue", "workers", "work", "pruning", "alerts"):
        assert found[check].verdict == Grade.PROBLEM
        assert found[check].says == "cannot be checked on this schema"
