"""What the README tells a newcomer to type, taken from its text and typed."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import connected, reachable_folder
from tests.support.commands import BLANK, address_of, processes_of, run, start
from tests.support.waiting import eventually, start_process

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
def home() -> Iterator[Path]:
    folder = reachable_folder()
    yield folder
    assert processes_of(folder) == []
    shutil.rmtree(folder)


def block(language: str, holding: str) -> str:
    """The one block of the README in that language that holds those words."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if holding in text]
    return str(found)


async def test_the_handler_of_the_readme_runs_as_it_is_printed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "my_module.py").write_text(block("python", "def fetch_bill"))
    lines = re.findall(r"^\$ (.+)$", block("console", "my_module.py"), re.MULTILINE)
    create, serve, enqueue, listed, select = map(shlex.split, lines)
    assert [words[0] for words in (create, serve, listed, select)] == ["wastewise-jobs"] * 4
    env = {"WASTEWISE_HOME": str(home), "PORT": "0"}

    done = await run(*create[1:], env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    async with start(*serve[1:], env=env, cwd=tmp_path) as service:
        url = await address_of(service)
        assert enqueue == [".venv/bin/python", "my_module.py"]
        async with start_process("my_module.py", env=BLANK | env, cwd=tmp_path) as script:
            assert await script.ended(within=60) == 0, script.said()
            # Nothing but what it prints itself: no log line of ours.
            job_id = UUID(script.said().strip())
        await eventually(lambda: service.has_said("completed"), within=10)
        done = await run(*listed[1:], env=env | {"WASTEWISE_URL": url}, cwd=tmp_path)
        assert re.search(rf"{job_id} +fetch_bill +completed", done.stdout), done
        done = await run(*select[1:], env=env, cwd=tmp_path)
        assert "(2 rows)" in done.stdout
        assert "hauling 2025-01" in done.stdout
        done = await run("doctor", "--json", env=env, cwd=tmp_path)
        (says,) = [f["says"] for f in json.loads(done.stdout) if f["check"] == "database"]
        async with connected(says.partition(" at ")[2]) as connection:
            assert await connection.fetchval("SELECT count(*) FROM bill_lines") == 2


async def test_psql_says_what_went_wrong_by_its_own_exit_code(db: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": db}
    done = await run("psql", "-Atc", "SELECT 6 * 7", env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "42\n")
    done = await run("psql", "-Atc", "SELECT nope", env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert 'column "nope" does not exist' in done.stderr
