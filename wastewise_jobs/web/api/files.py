"""The files of a property over HTTP."""

import asyncio
import math
import mimetypes
import re
import unicodedata
from functools import partial
from typing import Annotated, Literal, assert_never
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from wastewise_jobs.projects.model import MAX_FILES, NotPut, PutFile
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.api.downloads import PIECE_BYTES, Content, Downloads
from wastewise_jobs.web.api.recognition import Recogniser
from wastewise_jobs.web.api.views import file_answer
from wastewise_jobs.web.api.writes import Writes
from wastewise_jobs.web.http.caller import READ, WRITE
from wastewise_jobs.web.http.limits import Gate
from wastewise_jobs.web.http.parameters import FileInPath, IdInPath
from wastewise_jobs.web.http.problems import (
    CONSTRAINT_VIOLATED,
    EMPTY_FILE,
    FILE_NOT_FOUND,
    INVALID_VALUE,
    PROJECT_NOT_FOUND,
    QUOTA_EXCEEDED,
    TOO_MANY_DOWNLOADS,
    TOO_MANY_FILES,
    TOO_MANY_UPLOADS,
    ProblemError,
    no_such_project,
)
from wastewise_jobs.web.http.reading import read_body
from wastewise_jobs.web.http.route import (
    READ_SECONDS,
    Call,
    NoBody,
    NoParameters,
    Parameters,
    RawBody,
    Route,
    answer,
)
from wastewise_jobs.wire.projects import MAX_FILE_BYTES, FileAnswer, FileList
from wastewise_jobs.wire.types import FieldProblem

UPLOAD_SECONDS = 120.0
_MOST_UPLOADS = 4
_MOST_NAME_BYTES = 255
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,120}", re.ASCII)
_UNKNOWN_TYPE = "application/octet-stream"
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


class FileQuery(Parameters):
    """What the file is, when its header row does not tell."""

    file_type: Annotated[
        Literal["invoice", "haul_log"] | None,
        Field(description="overrides what the header row says"),
    ] = None


class FilesResource:
    """The handlers of the files of a project."""

    def __init__(
        self,
        *,
        store: ProjectStore,
        writes: Writes,
        recogniser: Recogniser,
        downloads: Downloads,
    ) -> None:
        self._store = store
        self._downloads = downloads
        self._writes = writes
        self._recogniser = recogniser
        self._uploads = Gate(_MOST_UPLOADS, TOO_MANY_UPLOADS, "uploads")

    async def put(self, call: Call[FileInPath, FileQuery, RawBody]) -> web.StreamResponse:
        """Store the body as the file: 201, or 200 when it replaces one."""
        name, project_id = checked_name(call.path.filename), call.path.id
        user_id = call.caller.sees_only
        with self._uploads.enter(call.caller):
            # Before ten megabytes are sent for nothing.
            if await self._store.get(project_id, user_id=user_id) is None:
                raise no_such_project()
            content = await read_body(
                call.request, limit=MAX_FILE_BYTES, total_seconds=UPLOAD_SECONDS
            )
            if not content:
                raise ProblemError(EMPTY_FILE, "the file is empty")
            file_type: str = call.query.file_type or await self._recogniser.type_of(
                call.caller, name, content
            )
            async with self._writes.transaction(call.caller) as connection:
                put = await self._store.put_file(
                    project_id,
                    user_id=user_id,
                    file_name=name,
                    file_type=file_type,
                    mime_type=_media_type(call.request, name),
                    content=content,
                    within=connection,
                    limited=not call.caller.admin,
                )
        match put:
            case PutFile(file, replaced):
                return answer(
                    file_answer(file),
                    status=200 if replaced else 201,
                    headers={
                        "Location": f"/api/projects/{project_id}/files/{quote(name, safe='')}"
                    },
                )
            case NotPut.TOO_MANY:
                raise ProblemError(TOO_MANY_FILES, f"a project holds at most {MAX_FILES} files")
            case NotPut.NO_PROJECT:
                raise no_such_project()
            case unreachable:
                assert_never(unreachable)

    async def list_files(self, call: Call[IdInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """The files by name, without their contents."""
        files = await self._store.list_files(call.path.id, user_id=call.caller.sees_only)
        if files is None:
            raise no_such_project()
        return answer(FileList(files=[file_answer(file) for file in files]))

    async def get(self, call: Call[FileInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """The content, to save; never shown by a browser as a page of ours."""
        name, user_id = checked_name(call.path.filename), call.caller.sees_only
        async with asyncio.timeout(READ_SECONDS):
            file = await self._store.open_file(
                call.path.id, name, user_id=user_id, piece=PIECE_BYTES
            )
            if file is None:
                if await self._store.get(call.path.id, user_id=user_id) is None:
                    raise no_such_project()
                raise _no_such_file()
        read = partial(self._store.read_file, file, piece=PIECE_BYTES)
        media_type = file.mime_type or _UNKNOWN_TYPE
        headers = {
            "Content-Type": media_type if _MEDIA_TYPE.fullmatch(media_type) else _UNKNOWN_TYPE,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, no-cache",
        }
        content = Content(file.size, file.head, read)
        return await self._downloads.send(call.request, call.caller, content, headers)

    async def delete(self, call: Call[FileInPath, NoParameters, NoBody]) -> web.StreamResponse:
        name = checked_name(call.path.filename)
        async with self._writes.transaction(call.caller) as connection:
            deleted = await self._store.delete_file(
                call.path.id, name, user_id=call.caller.sees_only, within=connection
            )
        if deleted is None:
            raise no_such_project()
        if not deleted:
            raise _no_such_file()
        return web.Response(status=204)


def routes(files: FilesResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/api/projects/{id}/files",
            files.list_files,
            READ,
            "List the files of a property",
            answers={200: FileList},
            refusals=(PROJECT_NOT_FOUND,),
            tag=tags.PROJECTS,
        ),
        Route(
            "PUT",
            "/api/projects/{id}/files/{filename}",
            files.put,
            WRITE,
            "Store the body, at most 10 MiB, as a file: 201 new, 200 replaced",
            answers={200: FileAnswer, 201: FileAnswer},
            refusals=(
                PROJECT_NOT_FOUND,
                EMPTY_FILE,
                TOO_MANY_FILES,
                TOO_MANY_UPLOADS,
                QUOTA_EXCEEDED,
                CONSTRAINT_VIOLATED,
            ),
            located=True,
            tag=tags.PROJECTS,
            time_limit=UPLOAD_SECONDS + 60.0,
        ),
        Route(
            "GET",
            "/api/projects/{id}/files/{filename}",
            files.get,
            READ,
            "The content of a file, of the media type that it was stored with",
            answers={200: "*/*"},
            refusals=(PROJECT_NOT_FOUND, FILE_NOT_FOUND, TOO_MANY_DOWNLOADS),
            tag=tags.PROJECTS,
            time_limit=math.inf,
        ),
        Route(
            "DELETE",
            "/api/projects/{id}/files/{filename}",
            files.delete,
            WRITE,
            "Delete a file",
            answers={204: None},
            refusals=(PROJECT_NOT_FOUND, FILE_NOT_FOUND),
            tag=tags.PROJECTS,
        ),
    )


def checked_name(name: str) -> str:
    """The file name, in one normal form; raises ProblemError for what is none."""
    name = unicodedata.normalize("NFC", name)
    problem = None
    if "/" in name or "\\" in name:
        problem = "must not hold slashes"
    elif name in {"", ".", ".."} or name != name.strip():
        problem = "is no file name"
    elif any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in name):
        problem = "must not hold control characters"
    elif len(name.encode()) > _MOST_NAME_BYTES:
        problem = f"must not be longer than {_MOST_NAME_BYTES} bytes"
    if problem is None:
        return name
    raise ProblemError(
        INVALID_VALUE,
        f"filename: {problem}",
        field="filename",
        errors=[FieldProblem(field="filename", problem=problem)],
    )


def _no_such_file() -> ProblemError:
    return ProblemError(FILE_NOT_FOUND, "there is no such file")


def _media_type(request: web.Request, name: str) -> str:
    """What the client says, unless it says nothing; then what the name says."""
    said = request.content_type.lower()
    if "Content-Type" in request.headers and said != _UNKNOWN_TYPE and _MEDIA_TYPE.fullmatch(said):
        return said
    return mimetypes.guess_type(name)[0] or _UNKNOWN_TYPE
