"""Which service the client commands ask, and as whom."""

from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest

from wastewise_jobs.cli.console import as_typed
from wastewise_jobs.cli.credentials import LOCAL_USER, find_target
from wastewise_jobs.cli.error_words import explain
from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.settings import SECRET_FILE, Settings

SECRET = "a secret that is long enough for HS256"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("WASTEWISE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_the_local_secret_makes_a_local_user_and_serves_no_other_machine(tmp_path: Path) -> None:
    assert find_target(None, None).token is None
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / SECRET_FILE).write_text(SECRET)
    local = find_target(None, None)
    assert local.url == "http://127.0.0.1:8080"
    assert local.token is not None
    claims = jwt.decode(local.token, SECRET, algorithms=["HS256"], audience="authenticated")
    assert claims["sub"] == str(LOCAL_USER)
    assert local.note is not None
    assert find_target("https://jobs.example.com", None).token is None
    assert find_target("http://localhost:9000", None).token is not None


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASTEWISE_URL", "https://a.example/")
    monkeypatch.setenv("WASTEWISE_TOKEN", "from-the-environment")
    assert find_target(None, None).url == "https://a.example"
    assert find_target(None, None).token == "from-the-environment"
    assert find_target("https://b.example", "given").url == "https://b.example"
    assert find_target("https://b.example", "given").token == "given"


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("b.example", None, "--url: must be an http"),
        ("", None, "--url: must be an http"),
        ("http://me:hunter2@b.example", None, "--url: must hold no user and no password"),
        ("http://b.example/?x=1", None, "--url: must end before"),
        ("http://[::1", None, "--url: must be an http"),
        (f"http://{'b' * 64}.example", None, "--url: must be an http"),
        ("http://\udcff", None, "--url: must be text in UTF-8"),
        (None, "", "--token: is no token"),
        (None, "hunter2\nX-Admin: 1", "--token: is no token"),
        (None, "hünter2", "--token: is no token"),
    ],
)
def test_a_wrong_address_or_token_is_told_before_anything_is_sent(
    url: str | None, token: str | None, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{said}") as caught:
        find_target(url, token)
    assert "nter2" not in explain(caught.value)[0]


def test_a_token_from_a_file_may_end_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASTEWISE_TOKEN", "a-token\n")
    assert find_target(None, None).token == "a-token"


def test_an_address_for_everybody_is_reached_by_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("0.0.0.0", "::"):  # noqa: S104 - what a container sets
        monkeypatch.setenv("HOST", host)
        assert urlsplit(find_target(None, None).url).hostname == "127.0.0.1"
    monkeypatch.setenv("HOST", "::1")
    assert find_target(None, None).url == "http://[::1]:8080"


def test_what_is_to_be_typed_leads_to_the_same_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/wastewise-jobs"])
    assert find_target(None, None).to_type("watch", "7") == ".venv/bin/wastewise-jobs watch 7"
    elsewhere = find_target("https://b.example/a b", "a-secret").to_type("watch", "7")
    assert elsewhere == (
        ".venv/bin/wastewise-jobs watch 7 --url 'https://b.example/a b' --token ..."
    )
    assert as_typed("run `wastewise-jobs migrate`") == "run `.venv/bin/wastewise-jobs migrate`"


def test_a_token_may_come_from_a_file_that_nobody_else_sees(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WASTEWISE_TOKEN", "from-the-environment")
    file = tmp_path / "a token"
    file.write_text("from-the-file\n")
    found = find_target("https://b.example", None, file)
    assert found.token == "from-the-file"
    assert "from-the-file" not in found.to_type("watch")
    assert f"--token-file '{file}'" in found.to_type("watch")


@pytest.mark.parametrize(
    ("token", "content", "said"),
    [
        ("given", "one", "cannot be given together with --token"),
        (None, "", "is no token"),
        (None, "two words", "is no token"),
        (None, "x" * 20_000, "is larger than 16 KiB"),
        (None, None, "No such file"),
    ],
)
def test_a_token_file_that_is_none_is_refused(
    tmp_path: Path, token: str | None, content: str | None, said: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInputError, match=f"--token-file: .*{said}"):
        find_target(None, token, file)
