"""Fetching a finished analysis's reports into a folder."""

import asyncio
import tempfile
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from wastewise_jobs.client import Client
from wastewise_jobs.errors import InvalidInputError

_FORMATS: Final[tuple[Literal["html", "xlsx"], ...]] = ("html", "xlsx")


def check_folder(folder: Path | None) -> None:
    """Create the folder now, so that nothing runs whose report could not be kept."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Rights, a read-only disk, a quota: only writing knows.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise InvalidInputError("--report", f"{folder} is a file, not a folder") from None
    except OSError as error:
        raise InvalidInputError("--report", f"{folder}: {error.strerror or error}") from None


async def save_reports(client: Client, job_id: UUID, folder: Path) -> list[Path]:
    """The files, named after the job."""
    saved = []
    for name in _FORMATS:
        content = await client.report(job_id, name)
        path = folder / f"wastewise-{job_id}.{name}"
        try:
            await asyncio.to_thread(path.write_bytes, content)
        except OSError as error:
            raise InvalidInputError("--report", f"{path}: {error.strerror or error}") from None
        saved.append(path)
    return saved
