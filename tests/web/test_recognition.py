"""What an uploaded file is; a hostile one harms nobody."""

import asyncio
import io
import resource
import zipfile
from datetime import timedelta
from typing import NoReturn

import psutil
import pytest

from tests.support.api import ANN, Api, token
from tests.support.waiting import eventually
from wastewise_jobs.analysis.intake import csv_table
from wastewise_jobs.web.api import recognition

INVOICES = b"date,vendor,description,amount\n2025-01-01,Acme,Hauling,100.00\n"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def far_cells(sheets: int) -> bytes:
    """A small workbook whose sheets are a million rows high."""
    cell = '<c r="{0}" t="inlineStr"><is><t>date</t></is></c>'
    rows = "".join(
        f'<row r="{row}">{cell.format(f"XFD{row}")}</row>' for row in (1, 200_000, 1_048_576)
    )
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as book:
        parts = "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" '
            f'ContentType="{SHEET_TYPE}.worksheet+xml"/>'
            for n in range(sheets)
        )
        book.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{TYPES}"><Override PartName="/xl/workbook.xml" '
            f'ContentType="{SHEET_TYPE}.sheet.main+xml"/>{parts}</Types>',
        )
        book.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r" '
            f'Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        names = "".join(
            f'<sheet name="s{n}" sheetId="{n + 1}" r:id="r{n}"/>' for n in range(sheets)
        )
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{names}</sheets></workbook>',
        )
        links = "".join(
            f'<Relationship Id="r{n}" Type="{RELATIONS}/worksheet" '
            f'Target="worksheets/sheet{n}.xml"/>'
            for n in range(sheets)
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{PACKAGE}">{links}</Relationships>',
        )
        for n in range(sheets):
            book.writestr(
                f"xl/worksheets/sheet{n}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>',
            )
    return raw.getvalue()


def children() -> set[int]:
    return {
        child.pid
        for child in psutil.Process().children()
        if "wastewise_jobs.children.callee" in child.cmdline()
    }


async def put(api: Api, project: str, name: str, content: bytes) -> str:
    reply = await api.put(f"/api/projects/{project}/files/{name}", content)
    assert reply.status == 201, reply.body
    return str(reply.json["fileType"])


async def test_no_file_is_parsed_in_the_process_of_the_api(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise AssertionError("parsed here")

    monkeypatch.setattr(csv_table, "read_csv", fail)
    monkeypatch.setattr("wastewise_jobs.analysis.intake.read_csv", fail)
    project = await api.new_project()
    assert await put(api, project, "a.csv", INVOICES) == "invoice"
    assert await put(api, project, "b.csv", b"nothing,of,interest\n") == "other"


async def test_a_workbook_that_takes_gigabytes_is_stored_and_costs_this_process_nothing(
    api: Api,
) -> None:
    project = await api.new_project()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await put(api, project, "far.xlsx", far_cells(100)) == "other"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert await put(api, project, "a.csv", INVOICES) == "invoice"


async def test_a_look_that_takes_too_long_is_killed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "_LOOK", timedelta(0))
    project = await api.new_project()
    assert await put(api, project, "a.csv", INVOICES) == "other"
    monkeypatch.undo()
    assert await put(api, project, "b.csv", INVOICES) == "invoice"
    assert len(children()) == 1


async def test_whoever_goes_away_leaves_no_child_at_work(api: Api) -> None:
    project = await api.new_project()
    url = f"{api.url}/api/projects/{project}/files/far.xlsx"
    upload = asyncio.create_task(
        api.session.put(url, data=far_cells(400), headers={"Authorization": f"Bearer {token(ANN)}"})
    )
    await eventually(children)
    upload.cancel()
    await eventually(lambda: not children())


async def test_few_look_at_once_and_one_for_each_user(api: Api) -> None:
    project = await api.new_project()
    types = await asyncio.gather(*(put(api, project, f"{n}.csv", INVOICES) for n in range(4)))
    assert types == ["invoice"] * 4
    assert len(children()) == 1
