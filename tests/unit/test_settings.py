import multiprocessing
import re
import stat
from pathlib import Path
from types import NoneType
from typing import get_args

import pytest

from wastewise_jobs.dsn import read_dsn
from wastewise_jobs.errors import ConfigurationError
from wastewise_jobs.settings import (
    SECRET_FILE,
    Settings,
    _link_new_secret,
    default_home,
    generated_secret,
    load_settings,
)

TEMPLATE = Path(__file__).parents[2] / ".env.template"
LINE = re.compile(r"#(?P<name>[A-Z_]+)=(?P<value>.*)")
SECRET = "correct horse battery staple 1234"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def problem_with(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    message = str(caught.value)
    assert "\n" not in message
    return message


def template_lines() -> list[tuple[str, str, str]]:
    """Name, value and the line above, of every variable in the template."""
    lines = TEMPLATE.read_text().splitlines()
    return [
        (match["name"], match["value"], lines[position - 1])
        for position, line in enumerate(lines)
        if (match := LINE.fullmatch(line))
    ]


def test_the_template_names_every_setting_in_order() -> None:
    assert [name for name, _, _ in template_lines()] == [n.upper() for n in Settings.model_fields]


def test_every_variable_of_the_template_has_a_comment_above() -> None:
    for name, _, above in template_lines():
        assert re.match(r"# \S", above), name
        assert not above.startswith("# ---"), name


def test_the_defaults_of_the_template_are_the_ones_in_force(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = load_settings()
    given = [f"{name}={value}" for name, value, _ in template_lines() if value]
    (tmp_path / ".env").write_text("\n".join(given))
    assert load_settings() == bare
    for name, value, _ in template_lines():
        field = Settings.model_fields[name.lower()]
        has_default = field.default not in {None, ()} and field.default_factory is None
        assert bool(value) == has_default, name
        if NoneType in get_args(field.annotation):
            assert not value, name
    monkeypatch.setenv("PORT", "9000")
    assert load_settings() != bare


def test_the_names_and_defaults_that_the_product_promises() -> None:
    settings = load_settings()
    assert settings.max_job_retries == 3
    assert settings.job_stuck_threshold_minutes == 30
    assert settings.error_rate_threshold == pytest.approx(0.10)
    assert settings.worker_heartbeat_threshold_minutes == 5
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.cors_allowed_origins == ()
    assert settings.worker_concurrency == 100
    assert (settings.lease_seconds, settings.heartbeat_seconds) == (30, 10)
    assert (settings.poll_interval_seconds, settings.shutdown_grace_seconds) == (5, 30)
    assert settings.jwt_audience == "authenticated"
    assert settings.embedded
    assert not settings.auth_configured


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("MAX_JOB_RETRIES", "-1"),
        ("ERROR_RATE_THRESHOLD", "nan"),
        ("ERROR_RATE_THRESHOLD", "1.5"),
        ("LEASE_SECONDS", "inf"),
        ("POLL_INTERVAL_SECONDS", "0"),
        ("JWT_SECRET", "too short"),
        ("JWT_JWKS_URL", "http://example.com/keys"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("PUBLIC_URL", "example.com"),
        ("PUBLIC_URL", "https://example.com:port"),
        ("PUBLIC_URL", "http://[::1"),
        ("CORS_ALLOWED_ORIGINS", "*"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,https://b.example/path"),
        ("USER_PRIORITY_FLOOR", "0"),
        ("NOTIFY_ENABLED", "perhaps"),
        ("WASTEWISE_LOOP", "trio"),
        ("SLACK_WEBHOOK_URL", "http://hooks.example.com/x"),
        ("ADMIN_EMAIL", "nobody"),
        ("HOST", " "),
        ("PUBLIC_URL", "https://me:secret@example.com"),
        ("PUBLIC_URL", "https://example.com/?a=1"),
        ("JWT_SECRET_PREVIOUS", "too short"),
        ("HTTPS_PROXY", "socks5://proxy:1080"),
        ("HTTPS_PROXY", "http://proxy:port"),
        ("HTTP_PROXY", "http://proxy:3128/path"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    assert problem_with(monkeypatch, **{variable: value}).startswith(f"{variable}: ")


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"RESEND_API_KEY": "re_1"}, "EMAIL_FROM"),
        ({"RESEND_API_KEY": "re_1", "EMAIL_FROM": "a@example.com"}, "ADMIN_EMAIL"),
        ({"ADMIN_EMAIL": "a@example.com"}, "RESEND_API_KEY"),
        ({"SMTP_URL": "smtp://mail"}, "EMAIL_FROM"),
        ({"SMTP_URL": "smtp://mail", "RESEND_API_KEY": "re_1"}, "SMTP_URL"),
        ({"ALERT_ROUTES": "job_failed=slack"}, "SLACK_WEBHOOK_URL"),
        ({"ALERT_ROUTES": "job_failed=pager"}, "ALERT_ROUTES"),
        ({"ALERT_ROUTES": "job_lost=email"}, "ALERT_ROUTES"),
        ({"HEARTBEAT_SECONDS": "10.1"}, "HEARTBEAT_SECONDS"),
        ({"LEASE_SECONDS": "20"}, "HEARTBEAT_SECONDS"),
        ({"DATABASE_DIRECT_URL": "postgresql://h/d"}, "DATABASE_URL"),
        ({"JWT_SECRET_PREVIOUS": SECRET}, "JWT_SECRET"),
    ],
)
def test_a_half_set_combination_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    assert problem_with(monkeypatch, **environment).startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://user:hunter2@host/db"),
        ("DATABASE_URL", "postgresql://user:hunter2/x@host/db"),
        ("DATABASE_URL", "postgresql://user:12/hunter2@host/db"),
        ("DATABASE_URL", "postgresql://user:hunter2?x@host/db"),
        ("DATABASE_URL", "postgresql://user:hunter2#x@host/db"),
        ("DATABASE_URL", "postgresql://user:x@hunter2@host/db"),
        ("DATABASE_URL", "postgresql://user:hunter2@host:port/db"),
        ("DATABASE_URL", "postgresql://user:hunter2@[::1/db"),
        ("JWT_SECRET", "hunter2"),
        ("JWT_SECRET", f"'hunter2 {SECRET}'"),
        ("HTTPS_PROXY", "ftp://user:hunter2@proxy"),
        ("SLACK_WEBHOOK_URL", "http://hooks.example.com/hunter2"),
    ],
)
def test_a_secret_is_never_repeated(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    assert "hunter2" not in problem_with(monkeypatch, **{variable: value})


@pytest.mark.parametrize(
    "address",
    [
        "postgres://user:p%40ss%2F@host",
        "postgresql://",
        "postgresql://user:a:b@[::1]:5432,[::2],c:1/db?target_session_attrs=primary",
        "postgresql://user@/db?host=/run/postgresql&port=5433",
    ],
)
def test_addresses_of_databases_come_in_many_forms(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    assert not load_settings().embedded


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_SECRET", SECRET),
        ("JWT_SECRET_PREVIOUS", SECRET),
        ("JWT_JWKS_URL", "https://i.example/keys"),
        ("JWT_ISSUER", "https://i.example"),
        ("PUBLIC_URL", "https://example.com"),
        ("RESEND_API_KEY", "re_1"),
        ("SMTP_URL", "smtp://mail.example"),
        ("SLACK_WEBHOOK_URL", "https://hooks.example.com/x"),
        ("PAGERDUTY_KEY", "key"),
        ("HEARTBEAT_PING_URL", "https://ping.example/x"),
        ("WASTEWISE_TOKEN", "token"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("LOG_LEVEL", "INFO"),
        ("PORT", "8080"),
    ],
)
@pytest.mark.parametrize("quoted", ['"{}"', "'{}'", '"{}"\r\n', " '{}'\n"])
def test_what_kept_the_quotes_of_a_shell_is_refused_with_that_reason(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, quoted: str
) -> None:
    said = problem_with(monkeypatch, **{variable: quoted.format(value)})
    assert said.startswith(f"{variable}: is wrapped in ")
    assert said.endswith(" quotes: remove them")


@pytest.mark.parametrize("end", [" ", "\n", "\r\n", "\t"])
def test_blanks_around_a_secret_are_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    given = {
        "JWT_SECRET": SECRET,
        "JWT_SECRET_PREVIOUS": SECRET,
        "SLACK_WEBHOOK_URL": "https://hooks.example.com/x",
        "PAGERDUTY_KEY": "key",
        "HEARTBEAT_PING_URL": "https://ping.example/x",
        "HTTPS_PROXY": "http://proxy:3128",
        "WASTEWISE_TOKEN": "token",
    }
    for variable, value in given.items():
        monkeypatch.setenv(variable, end + value + end)
    settings = load_settings()
    for variable, value in given.items():
        assert getattr(settings, variable.lower()).get_secret_value() == value


@pytest.mark.parametrize(
    "text", ['"postgres://u:p@h/d"', "'postgres://u:p@h/d'\n", "postgres://u:p@h/d\r\n"]
)
def test_an_address_of_a_database_is_understood_in_quotes(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", text)
    given = load_settings().database_url
    assert given is not None
    assert read_dsn(given.get_secret_value()) == read_dsn("postgres://u:p@h/d")


def test_proxies_are_read_in_both_cases_and_the_lower_one_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://upper:1")
    monkeypatch.setenv("NO_PROXY", "a.example, .b.example,10.0.0.0/8")
    settings = load_settings()
    assert settings.https_proxy is not None
    assert settings.https_proxy.get_secret_value() == "http://upper:1"
    assert settings.no_proxy == ("a.example", ".b.example", "10.0.0.0/8")
    monkeypatch.setenv("https_proxy", "lower:2")
    monkeypatch.setenv("ALL_PROXY", "http://all:3")
    settings = load_settings()
    assert settings.https_proxy is not None
    assert settings.https_proxy.get_secret_value() == "http://lower:2"
    assert settings.http_proxy is None


def test_secrets_are_masked_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@host/db")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("PAGERDUTY_KEY", "hunter2")
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
        assert SECRET not in shown


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("PORT", "")
    settings = load_settings()
    assert settings.embedded
    assert settings.port == 8080


def test_the_environment_wins_over_the_file_and_flags_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=1001\nHOST=10.0.0.1\nUNKNOWN=1\n")
    assert (load_settings().port, load_settings().host) == (1001, "10.0.0.1")
    monkeypatch.setenv("PORT", "1002")
    assert load_settings().port == 1002
    assert load_settings(port=1003).port == 1003


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"^\.env: cannot be read"):
        load_settings()


@pytest.mark.parametrize("line", ["PORT 9000", "PORT", "JWT_SECRET='hunter2"])
def test_a_line_of_the_file_that_sets_nothing_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# ours\nHOST=::1\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == ".env: line 3 is not of the form NAME=value"


def test_a_folder_is_no_settings_file_and_a_device_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("/dev/null")
    assert load_settings().port == 8080
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigurationError, match=r"^\.env: is a folder"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("NOTIFY_ENABLED", "maybe", "must be true or false, not 'maybe'"),
        ("PORT", "80.5", "must be a whole number, not '80.5'"),
        ("PORT", "-1", "must be at least 0, not '-1'"),
        ("DATABASE_TIMEOUT_SECONDS", "x", "must be a number, not 'x'"),
        ("DATABASE_TIMEOUT_SECONDS", "86401", "must be at most 86400, not '86401'"),
        ("LOG_FORMAT", "xml", "must be 'auto', 'json' or 'console', not 'xml'"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    assert problem_with(monkeypatch, **{variable: value}) == f"{variable}: {said}"


def test_loopback_may_serve_keys_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_JWKS_URL", "http://127.0.0.1:9999/keys")
    assert load_settings().auth_configured


def test_origins_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://a.example, http://localhost:3000")
    assert load_settings().cors_allowed_origins == ("https://a.example", "http://localhost:3000")


def test_an_ordinary_user_keeps_data_in_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_home() == Path("/data/wastewise-jobs")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_home() == Path("/home/someone/.local/share/wastewise-jobs")


def _secret_of(home: Path) -> str:
    return generated_secret(home).get_secret_value()


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        secrets = pool.map(_secret_of, [home] * 12)
    assert len(set(secrets)) == 1
    assert len(secrets[0]) >= 32
    assert [path.name for path in home.iterdir()] == [SECRET_FILE]
    assert stat.S_IMODE((home / SECRET_FILE).stat().st_mode) == 0o600


def test_whoever_comes_late_keeps_the_secret_that_is_there(tmp_path: Path) -> None:
    first = _secret_of(tmp_path)
    # As a process does that had looked before the file was there.
    _link_new_secret(tmp_path / SECRET_FILE)
    assert _secret_of(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text("short\n")
    with pytest.raises(ConfigurationError, match=r"^WASTEWISE_HOME: .*jwt-secret"):
        generated_secret(tmp_path)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"^WASTEWISE_HOME: "):
        generated_secret(tmp_path / "file" / "home")
