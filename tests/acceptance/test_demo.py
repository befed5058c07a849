"""The first thing that anybody runs."""

import re
import signal
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.commands import run, start
from tests.support.waiting import eventually


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_the_demo_analyses_a_property_and_ends(home: Path, tmp_path: Path) -> None:
    done = await run("demo", "--exit", env={"WASTEWISE_HOME": str(home), "PORT": "0"}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "a year can be saved with 3 measures" in done.stdout
    for shown in ("Cost per door", "Compactor monitoring", "strongly recommend", "warnings"):
        assert shown in done.stdout
    # Which of the steps are seen depends on how fast they are.
    assert re.search(
        "Loading files|Reading rows|Measuring|Drawing|Writing the workbook", done.stderr
    )
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("{")] == []
    html, xlsx = sorted((tmp_path / "wastewise-report").iterdir())
    assert html.read_text().lower().startswith("<!doctype html>")
    assert "Willow Creek" in html.read_text()
    assert zipfile.is_zipfile(xlsx)
    for path in (html, xlsx):
        assert path.name in done.stdout


async def test_the_demo_stays_up_until_it_is_stopped(
    home: Path, tmp_path: Path, taken_port: int
) -> None:
    env = {"WASTEWISE_HOME": str(home), "PORT": str(taken_port)}
    async with start("demo", "--report", "out", env=env, cwd=tmp_path) as process:
        await eventually(lambda: process.has_said("Ctrl-C stops it"), within=60)
        url = next(
            line.split()[1] for line in process.said().splitlines() if line.startswith("  API ")
        )
        assert not url.endswith(f":{taken_port}")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/livez") as answer:
                assert answer.status == 200
            async with session.get(f"{url}/docs") as answer:
                assert answer.status == 200
        again = await run("jobs", "list", env=env | {"WASTEWISE_URL": url}, cwd=tmp_path)
        assert "complete_analysis" in again.stdout
        process.send(signal.SIGINT)
        assert await process.ended() == 0
        assert "Traceback" not in process.said()


async def test_nothing_starts_when_the_reports_could_not_be_kept(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    env = {"WASTEWISE_HOME": str(home)}
    done = await run("demo", "--report", "file/below", env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --report: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(home.iterdir()) == []
