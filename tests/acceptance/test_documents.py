"""What the documents tell people to type, taken from their text and typed; and their links."""

import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import connected, reachable_folder
from tests.support.commands import SECRET, address_of, processes_of, start
from tests.support.documents import PAGES, ROOT, Shell, blocks, commands, write_files
from tests.support.factories import insert_plainly
from wastewise_jobs.analysis.sample import sample_files

DOCS = ROOT / "docs"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def home() -> Iterator[Path]:
    folder = reachable_folder()
    yield folder
    assert processes_of(folder) == []
    shutil.rmtree(folder)


@pytest.fixture
async def shell(home: Path, tmp_path: Path) -> AsyncIterator[Shell]:
    """Beside a service that carries what docs/handlers.md writes."""
    env = {"WASTEWISE_HOME": str(home), "PORT": "0"}
    write_files(DOCS / "handlers.md", tmp_path)
    async with start("serve", "--app", "my_jobs:jobs", env=env, cwd=tmp_path) as service:
        url = await address_of(service)
        write_files(DOCS / "api.md", tmp_path, url)
        yield Shell(tmp_path, env | {"WASTEWISE_URL": url}, url)


def typed(page: Path) -> list[str]:
    """Every command of a page but the one that starts the service."""
    return [
        command
        for block in blocks(page)
        if block.language == "console"
        for command in commands(block)
        if not command.startswith("wastewise-jobs serve")
    ]


@needs_curl
async def test_the_examples_for_clients_run_as_they_are_printed(shell: Shell) -> None:
    for file in sample_files():
        (shell.folder / file.name).write_bytes(file.content)
    (shell.folder / "compactor-hauls-2025.csv").rename(shell.folder / "hauls.csv")
    (shell.folder / "lone-star-invoices-2025.csv").rename(shell.folder / "invoices.csv")
    said = {command: await shell.type(command) for command in typed(DOCS / "api.md")}

    def answer_to(part: str) -> str:
        return next(text for command, text in said.items() if part in command)

    assert json.loads(answer_to("?wait=30"))["status"] == "completed"
    assert "<html" in (shell.folder / "report.html").read_text()
    assert len(json.loads(answer_to("/rows"))["rows"]) == 5
    assert "event: status" in answer_to("/events")
    assert json.loads(answer_to('"priority":11'))["field"] == "priority"
    assert answer_to("client_example.py").splitlines()[-1].startswith("100")


async def test_the_examples_for_handlers_run_as_they_are_printed(shell: Shell) -> None:
    said = [await shell.type(command) for command in typed(DOCS / "handlers.md")]
    assert re.search(r"^[0-9a-f-]{36} pending\n1000$", said[0], re.MULTILINE), said
    assert "1 passed" in said[1]


async def test_the_commands_for_operators_run_as_they_are_printed(db: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": db, "JWT_SECRET": SECRET, "PORT": "0"}
    async with start("serve", env=env, cwd=tmp_path) as service:
        await address_of(service)
        shell = Shell(tmp_path, env)
        for command in typed(DOCS / "operations.md"):
            await shell.type(command)


async def test_the_statements_for_operators_run_as_they_are_printed(db: str) -> None:
    (text,) = [block.text for block in blocks(DOCS / "operations.md") if block.language == "sql"]
    statements = [line.partition("--")[0].strip() for line in text.splitlines()]
    assert len(statements) >= 8
    async with connected(db) as connection:
        for statement in statements:
            job = await insert_plainly(connection, user_id=uuid4())
            await connection.execute(statement.replace(":'job'", f"'{job}'"))


def test_every_block_of_every_page_is_run_by_a_test() -> None:
    """A language or a page that no test above knows is one that may be wrong."""
    run = {
        "README.md": {"shell", "console", "python"},
        "api.md": {"console", "python"},
        "handlers.md": {"console", "python"},
        "operations.md": {"console", "sql"},
    }
    for page in PAGES:
        found = {block.language for block in blocks(page)}
        assert found <= run.get(page.name, set()), page
        assert all(block.file for block in blocks(page) if block.language == "python"), page


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("benchmarks/**/README.md"))]
)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = page if not path else (page.parent / path).resolve()
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_the_readme_is_a_page_that_is_read_to_its_end() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
