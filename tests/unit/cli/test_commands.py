import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import jwt
import pytest

from wastewise_jobs.cli.app import main
from wastewise_jobs.cli.psql import without_password
from wastewise_jobs.cli.reports import check_folder
from wastewise_jobs.cli.serve import _load, _queues
from wastewise_jobs.cli.submit import _input, _name_of, _new_project, _uploads
from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.settings import SECRET_FILE, Settings

USER = "7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37"
MODULE = """
from wastewise_jobs import JobContext, Jobs

jobs, empty = Jobs(), Jobs()

@jobs.handler("greet")
async def greet(job: JobContext) -> None: ...
"""
SECRET = "a secret that is long enough for HS256"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("WASTEWISE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), said.out, said.err


def test_help_does_not_load_what_it_does_not_need() -> None:
    heavy = [
        "asyncpg",
        "aiohttp",
        "pydantic",
        "cryptography",
        "jinja2",
        "xlsxwriter",
        "psycopg",
        "yoyo",
        "structlog",
    ]
    code = f"import sys, wastewise_jobs.cli; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ran(capsys, "--help")
    commands = (
        "demo serve api worker submit watch migrate token doctor bench",
        "jobs list,jobs show,jobs cancel,jobs retry,keys create,keys list,keys revoke",
        "alerts test,alerts list,alerts ack",
    )
    for command in (*commands[0].split(), *commands[1].split(","), *commands[2].split(",")):
        assert command.split()[0] in out
        code, text, _ = ran(capsys, *command.split(), "--help")
        assert code == 0
        assert "Usage" in text


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("unknown", "no such command 'unknown'; see `"),
        ("jobs", "missing command; see `"),
        ("token", "missing option '--user'; see `"),
        ("submit", "missing argument 'JOB_TYPE'; see `"),
        ("submit x y", "got unexpected extra argument(s) (y); see `"),
        ("token --usr me", "no such option: --usr"),
        ("token --user me", f"--user: must be a UUID such as {USER}, not 'me'\n"),
        ("token --user 00000000-0000-0000-0000-000000000000", "--user: the nil UUID is nobody\n"),
        ("keys create --user 00000000-0000-0000-0000-000000000000", "--user: the nil UUID"),
        ("serve --port 70000", "--port: must be at most 65535, not 70000\n"),
        ("worker --concurrency 0", "--concurrency: must be at least 1, not 0\n"),
        ("jobs show 7", f"JOB_ID: must be a UUID such as {USER}, not '7'\n"),
        ("jobs list --limit 201", "--limit: must be at most 200, not '201'\n"),
        ("serve --port http", "--port: must be a whole number, not 'http'\n"),
        ("migrate --plan --rollback", "--plan: cannot be given together with --rollback\n"),
        ("keys revoke \udcff", "KEY: there is no such key; "),
        ("migrate --count 2", "--count: needs --rollback\n"),
        ("submit x --run-at soon", "--run-at: must be 2026-"),
        ("submit x --invoices", "option '--invoices' requires an argument\n"),
        ("submit x --invoices a.csv", "--invoices: a.csv: No such file or directory\n"),
        ("submit x --project 7 --debug --city", "option '--city' requires an argument\n"),
        ("submit x --date-order dym", "--date-order: 'dym' is not one of 'mdy', 'dmy', 'ymd'\n"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], typed: str, said: str) -> None:
    code, out, err = ran(capsys, *typed.split())
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"error: {said}".rstrip())
    if "--debug" not in typed:
        assert err.count("\n") == 1


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_are_no_sockets(closed: str, tmp_path: Path) -> None:
    url = "--url=http://127.0.0.1:1"
    typed = f"{sys.executable} -m wastewise_jobs jobs list --token=x {url} {closed}"
    done = subprocess.run(["/bin/sh", "-c", typed], capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stderr


def test_a_terminal_without_our_letters_gets_others(tmp_path: Path) -> None:
    code = "from wastewise_jobs.cli.app import _make_output_safe as f; f(); print('a → b')"
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=tmp_path, env=env, check=False
    )
    assert done.stdout == b"a ? b\n", done.stderr


def test_a_minus_is_no_question_mark_on_any_terminal(tmp_path: Path) -> None:
    code = (
        "from wastewise_jobs.cli.app import _make_output_safe as f; f();"
        "print('\u2212$20.00, 4 yd\u00b3 \u00d7 2 \u2013 3\u2026')"
    )
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=tmp_path, env=env, check=False
    )
    assert done.stdout == b"-$20.00, 4 yd3 x 2 - 3...\n", done.stderr


def test_options_say_how_files_are_read() -> None:
    reading = {"dateOrder": "dmy", "decimal": None, "locations": ["Oak", "Elm"]}
    assert _input('{"files": ["a.csv"]}', reading) == {
        "files": ["a.csv"],
        "dateOrder": "dmy",
        "locations": ["Oak", "Elm"],
    }
    assert _input(None, dict.fromkeys(reading)) == {}
    with pytest.raises(InvalidInputError, match="dateOrder is given by an option too"):
        _input('{"dateOrder": "mdy"}', reading)


def test_nothing_typed_is_answered_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys)
    assert (code, err) == (2, "")
    assert "Usage" in out


def test_a_wrong_setting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "many")
    code, out, err = ran(capsys, "token", "--user", USER)
    assert (code, out) == (2, "")
    assert err == "error: PORT: must be a whole number, not 'many'\n"


def test_what_is_wrong_with_a_secret_can_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", "hunter2")
    code, _, err = ran(capsys, "token", "--user", USER)
    assert (code, err) == (2, "error: JWT_SECRET: must be at least 32 bytes long\n")
    monkeypatch.delenv("JWT_SECRET")
    monkeypatch.setenv("PUBLIC_URL", "ftp://me:hunter2@example.com")
    code, _, err = ran(capsys, "token", "--user", USER)
    assert code == 2
    assert err.startswith("error: PUBLIC_URL: must be an http")
    assert "hunter2" not in err


def test_an_unexpected_error_is_a_line_and_with_debug_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(**_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("wastewise_jobs.cli.start.load_settings", crash)
    code, _, err = ran(capsys, "token", "--user", USER)
    assert code == 1
    assert err == (
        "error: unexpected RuntimeError: password=***; run it again with --debug to see where\n"
    )
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    code, _, err = ran(capsys, "token", "--user", USER, "--debug")
    assert "Traceback" in err
    assert "hunter2" not in err


def test_a_token_says_who_and_for_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.example")
    code, out, _ = ran(capsys, "token", "--user", USER.upper(), "--admin", "--hours", "2")
    assert code == 0
    claims = jwt.decode(
        out.strip(),
        SECRET,
        algorithms=["HS256"],
        audience="authenticated",
        issuer="https://issuer.example",
    )
    assert claims["sub"] == USER
    assert claims["app_metadata"] == {"role": "admin"}
    assert claims["exp"] - claims["iat"] == 7200


def test_without_a_secret_of_its_own_a_token_uses_the_kept_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out, _ = ran(capsys, "token", "--user", USER)
    secret = (tmp_path / "home" / SECRET_FILE).read_text()
    claims = jwt.decode(out.strip(), secret, algorithms=["HS256"], audience="authenticated")
    assert claims["app_metadata"] == {}


@pytest.mark.parametrize(
    "environment",
    [
        {"JWT_JWKS_URL": "https://issuer.example/keys"},
        {"DATABASE_URL": "postgresql://host/db"},
    ],
)
def test_no_token_is_made_that_nobody_would_take(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, _, err = ran(capsys, "token", "--user", USER)
    assert code == 2
    assert err.startswith("error: JWT_SECRET: ")


def test_a_folder_for_reports_is_one_that_can_be_written(tmp_path: Path) -> None:
    check_folder(None)
    check_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    # In /proc nobody makes files, not even root.
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc")):
        with pytest.raises(InvalidInputError, match=f"^--report: {folder}"):
            check_folder(folder)


def test_queues_may_have_limits() -> None:
    assert _queues(None) is None
    assert _queues("default:10, reports") == {"default": 10, "reports": None}
    for wrong in (
        *("", "default:", ":3", "default:0", "default:many", "default:-1", "a:1:2"),
        *("default:10,default:2", "default,default:2", f"default:{'9' * 5000}"),
    ):
        with pytest.raises(InvalidInputError, match=r"^--queues: "):
            _queues(wrong)


def test_an_application_is_found_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "my_own_handlers.py").write_text(MODULE)
    assert _load(None) is None
    assert _load("my_own_handlers:jobs") is not None
    for wrong, words in (
        ("my_own_handlers", "module:jobs"),
        ("my_own_handlers:", "module:jobs"),
        ("../my_own_handlers:jobs", "module:jobs"),
        ("my_own_handlers.py:jobs", "my_own_handlers.py here"),
        ("my_own_handlers:Jobs", "no Jobs registry but of the type type"),
        ("my_own_handlers:job", "my_own_handlers has no job$"),
        ("my_own_handlers:empty", "has no handlers"),
        ("not_there:jobs", "there is no module not_there"),
    ):
        with pytest.raises(InvalidInputError, match=f"^--app: .*{words}"):
            _load(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import not_there",
            "ModuleNotFoundError: No module named 'not_there' (broken.py, line 1)",
        ),
        ("\njobs = = 1", "SyntaxError: invalid syntax (broken.py, line 2)"),
        ("raise SystemExit(0)", "SystemExit: 0 (broken.py, line 1)"),
        ("raise ValueError('a\\nb')", "ValueError: a b (broken.py, line 1)"),
        (
            "from wastewise_jobs import Jobs\n\n@Jobs().handler('x')\nasync def f(): ...",
            "TypeError: handler f must take the job's context as its first argument",
        ),
    ],
)
def test_why_an_application_cannot_be_imported_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "broken.py").write_text(text)
    code, out, err = ran(capsys, "worker", "--app", "broken:jobs")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --app: broken cannot be imported: {said}")
    assert err.count("\n") == 1
    code, _, err = ran(capsys, "--debug", "worker", "--app", "broken:jobs")
    assert code == 2
    assert "Traceback" in err
    assert "broken.py" in err


def test_a_new_project_is_checked_before_anything_is_sent() -> None:
    options = {"property_name": "Oak", "units": 200, "city": "Austin", "state": "TX"}
    project = _new_project(None, options | {"equipment_type": "Compactor"})
    assert project is not None
    assert project.equipment_type == "COMPACTOR"
    assert _new_project(None, dict.fromkeys(options)) is None
    for change, named in (
        ({"units": 5}, "--units"),
        ({"equipment_type": "crane"}, "--equipment"),
        ({"property_type": "castle"}, "--property-type"),
        ({"pickups_per_week": -1.0}, "--pickups-per-week"),
        ({"city": None}, "--city"),
    ):
        with pytest.raises(InvalidInputError, match=f"^{named}: "):
            _new_project(None, {**options, "equipment_type": "mixed", **change})
    with pytest.raises(InvalidInputError, match=r"^--project: "):
        _new_project(UUID(USER), options)


@pytest.mark.parametrize("missing", ["property", "units", "city", "state", "equipment"])
def test_what_a_new_property_lacks_is_an_option_that_exists(
    capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    given = {"property": "A", "units": "100", "city": "b", "state": "TX", "equipment": "mixed"}
    del given[missing]
    typed = [f"--{name}={value}" for name, value in given.items()]
    code, out, err = ran(capsys, "submit", "complete_analysis", *typed)
    assert (code, out, err) == (2, "", f"error: --{missing}: is required\n")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--scopes", ""], "--scopes: must not be empty"),
        (["--scopes", "read,all"], "--scopes: must be 'read', 'write' or 'admin'"),
        (["--name", "x" * 101], "--name: is longer than 100"),
    ],
)
def test_a_key_that_cannot_be_made_is_told_by_option(
    capsys: pytest.CaptureFixture[str], typed: list[str], said: str
) -> None:
    code, out, err = ran(capsys, "keys", "create", "--user", USER, *typed)
    assert (code, out, err) == (2, "", f"error: {said}\n")


def test_files_are_read_before_anything_is_sent(tmp_path: Path) -> None:
    odd = ("b\n.csv", " b.csv", "b\\.csv")
    for name, content in (
        *(("a.csv", "a"), ("empty.csv", ""), ("other/a.csv", "b")),
        *((name, "b") for name in (*odd, "other/e\u0301.csv", "\u00e9.csv")),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (upload,) = _uploads([Path("a.csv")], [])
    assert (upload.name, upload.content, upload.file_type) == ("a.csv", b"a", "invoice")
    for invoices, hauls, words in (
        (["missing.csv"], [], "No such file"),
        (["empty.csv"], [], "is empty"),
        (["other"], [], "directory"),
        (["a.csv"], ["other/a.csv"], "two files are named a.csv"),
        (["/dev/zero"], [], "is larger than 10,240 KiB"),
        *(([name], [], "rename the file") for name in odd),
        (["other/e\u0301.csv", "\u00e9.csv"], [], "two files are named"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            _uploads([Path(name) for name in invoices], [Path(name) for name in hauls])
    # As Linux has them whose letters are of another encoding.
    with pytest.raises(InvalidInputError, match=r"^--haul-log: .*rename the file"):
        _name_of(Path("b\udcff.csv"), "--haul-log")


@pytest.mark.parametrize(
    ("dsn", "address", "password"),
    [
        ("postgresql://u:p%40ss@h:5433/d", "postgresql://u@h:5433/d", "p@ss"),
        (
            "postgresql://u:x@h1,h2:6/d?target_session_attrs=primary",
            "postgresql://u@h1,h2:6/d?connect_timeout=3&target_session_attrs=primary",
            "x",
        ),
        ("postgresql://h/d?user=u&password=a%26b", "postgresql://u@h/d", "a&b"),
        (
            "postgresql://postgres@/postgres?host=/a%20b/s&port=5432",
            "postgresql://postgres@/postgres?host=%2Fa%20b%2Fs&port=5432",
            None,
        ),
    ],
)
def test_psql_shows_no_password_among_the_processes(
    dsn: str, address: str, password: str | None
) -> None:
    expected = {} if password is None else {"PGPASSWORD": password}
    assert without_password(dsn) == (address, expected)
