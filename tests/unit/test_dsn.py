import pytest

from wastewise_jobs.dsn import Dsn, Host, read_dsn

HARD = "p@ss:w/rd?#[%]&=ü ' \\+"
CODED = "p%40ss%3Aw%2Frd%3F%23%5B%25%5D%26%3D%C3%BC%20%27%20%5C%2B"
PLAIN = "p@ss:w/rd?#[%]&=ü\\ \\'\\ \\\\+ "
ONE = (Host("db.example", 5432),)


@pytest.mark.parametrize(
    "text",
    [
        f"postgres://app:{CODED}@db.example:5432/jobs",
        f"postgresql://app:{CODED}@db.example:5432/jobs",
        f"jdbc:postgresql://app:{CODED}@db.example:5432/jobs",
        f"postgresql+asyncpg://app:{CODED}@db.example:5432/jobs",
        f"postgresql+psycopg://app:{CODED}@db.example:5432/jobs",
        f'"postgres://app:{CODED}@db.example:5432/jobs"',
        f"'postgres://app:{CODED}@db.example:5432/jobs'\r\n",
        f"postgres:///jobs?user=app&password={CODED}&host=db.example&port=5432",
        f"postgres://app:{CODED}@/?dbname=jobs&host=db.example:5432",
        f"postgres://app:{CODED}@localhost:1/jobs?host=db.example&port=5432",
        "host=db.example port=5432 dbname=jobs user=app password='p@ss:w/rd?#[%]&=ü \\' \\\\+'",
        " host = db.example port='5432' dbname=jobs user=app password=" + PLAIN,
    ],
)
def test_one_address_may_be_written_in_many_ways(text: str) -> None:
    assert read_dsn(text) == Dsn(ONE, "app", HARD, "jobs")
    again = read_dsn(text).of_database("other")
    assert read_dsn(again) == Dsn(ONE, "app", HARD, "other")


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("postgresql://", ()),
        ("postgresql://h", (Host("h"),)),
        ("postgresql://[::1]:5433,[::2],c:1", (Host("::1", 5433), Host("::2"), Host("c", 1))),
        ("postgresql://%2Frun%2Fpg:5433/d", (Host("/run/pg", 5433),)),
        ("postgresql://u@/d?host=/run/pg,h&port=1,2", (Host("/run/pg", 1), Host("h", 2))),
        ("postgresql://u:p@localhost/d?host=/cloudsql/a:b:c", (Host("/cloudsql/a:b:c"),)),
        ("host=a,b port=7", (Host("a", 7), Host("b", 7))),
        ("host=::1", (Host("::1"),)),
        ("hostaddr=10.0.0.1 dbname=d", (Host("10.0.0.1"),)),
    ],
)  # fmt: skip
def test_hosts_are_names_addresses_and_sockets(text: str, hosts: tuple[Host, ...]) -> None:
    assert read_dsn(text).hosts == hosts
    assert not read_dsn(text).dropped
    assert read_dsn(read_dsn(text).of_database("d")).hosts == hosts


@pytest.mark.parametrize(
    ("query", "words", "settings", "dropped"),
    [
        ("channel_binding=require", {"channel_binding": "require"}, {}, ("channel_binding",)),
        ("channel_binding=prefer", {"channel_binding": "prefer"}, {}, ()),
        ("gssencmode=disable", {"gssencmode": "disable"}, {}, ()),
        ("keepalives=1", {"keepalives": "1"}, {}, ()),
        ("keepalives_idle=5", {"keepalives_idle": "5"}, {}, ("keepalives_idle",)),
        ("pgbouncer=true&connection_limit=1", {}, {}, ("connection_limit",)),
        ("currentSchema=x&schema=y", {}, {}, ("currentSchema", "schema")),
        ("ssl=true", {"sslmode": "require"}, {}, ()),
        ("sslmode=no-verify", {"sslmode": "require"}, {}, ()),
        ("requiressl=1", {"sslmode": "require"}, {}, ()),
        ("sslmode=verify-full&requiressl=0", {"sslmode": "verify-full"}, {}, ()),
        ("jit=off&app.tenant=7", {}, {"jit": "off", "app.tenant": "7"}, ()),
        ("options=-c%20search_path%3Dx", {"options": "-c search_path=x"}, {}, ()),
        ("options=-c+search_path%3Dx", {"options": "-c search_path=x"}, {}, ()),
        ("sslrootcert=/etc/ca.pem", {"sslrootcert": "/etc/ca.pem"}, {}, ()),
        ("sslnegotiation=direct", {"sslnegotiation": "direct"}, {}, ()),
        ("target_session_attrs=any", {"target_session_attrs": "any"}, {}, ()),
        ("connect_timeout=2", {"connect_timeout": "2"}, {}, ()),
    ],
)  # fmt: skip
def test_a_word_is_understood_or_dropped_and_told(
    query: str, words: dict[str, str], settings: dict[str, str], dropped: tuple[str, ...]
) -> None:
    address = read_dsn(f"postgresql://u@h/d?{query}")
    assert (dict(address.words), dict(address.settings)) == (words, settings)
    assert address.dropped == dropped
    assert address.pooler == ("pgbouncer" in query)


def test_a_service_is_looked_up_and_what_is_written_wins(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = f"{tmp_path}/services"
    with open(file, "w", encoding="utf-8") as services:  # noqa: PTH123
        services.write("[prod]\nhost=a\nport=5433\nuser=app\npassword=x%y\nsslmode=require\n")
    monkeypatch.setenv("PGSERVICEFILE", file)
    address = read_dsn("postgresql://me@/jobs?service=prod")
    assert (address.hosts, address.user, address.password) == ((Host("a", 5433),), "me", "x%y")
    assert address.words == {"sslmode": "require"}
    with pytest.raises(ValueError, match="in no service file"):
        read_dsn("service=other")


def test_libpq_is_told_all_in_its_own_words() -> None:
    address = read_dsn(
        "postgres://u:p@a,b:1/d?jit=off&options=-c%20x%3D1&search_path=a%20b&pool_size=3"
    )
    assert address.for_libpq() == {
        "host": "a,b",
        "port": ",1",
        "dbname": "d",
        "user": "u",
        "password": "p",
        "options": "-c x=1 -c jit=off -c search_path=a\\ b",
    }


def test_what_an_older_psql_would_refuse_is_in_its_environment() -> None:
    address = read_dsn("postgres://u:p@h/d?sslnegotiation=direct&sslmode=require&sslpassword=x")
    assert address.for_psql() == (
        "postgresql://u@h/d?sslmode=require",
        {"PGPASSWORD": "p", "PGSSLNEGOTIATION": "direct"},
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "hunter2", "mysql://u:hunter2@h/d", "u:hunter2@h/d", "http://h/?x=hunter2"),
        *("postgres://u:hunter2/x@h/d", "postgres://u:12/hunter2@h/d"),
        *("postgres://u:hunter2?x=1@h/d", "postgres://u:hunter2#x@h/d"),
        *("postgres://u:x@hunter2@h/d", "postgres://u:hunter2@h:port/d"),
        *("postgres://u:hunter2@[::1/d", "postgres://u:hunter2@h/d?word"),
        *("postgres://u:hunter2@h\n/d", "postgres://u:hunter2@a,b/d?port=1,2,3"),
        *("host=h password='hunter2", "host=h hunter2", "host=h port=99999 password=hunter2"),
        "postgres://u:hunter2@h/d?target_session_attrs=master",
        f"postgres://u:hunter2@h/{'x' * 20_000}",
    ],
)
def test_what_is_no_address_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(?:is no|must|names|has)") as caught:
        read_dsn(text)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__cause__)


def test_no_password_is_shown() -> None:
    address = read_dsn("postgres://u:hunter2@h/d?sslpassword=hunter2")
    assert "hunter2" not in repr(address) + address.place
