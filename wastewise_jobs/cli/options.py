"""Options that several commands share."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

Url = Annotated[
    str | None,
    typer.Option("--url", help="The service (WASTEWISE_URL; else http://HOST:PORT)."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="Bearer token or API key. Everybody on this machine sees it in the list of "
        "processes: WASTEWISE_TOKEN and --token-file are not seen.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="A file with the token or key in it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="DIR", help="Save the HTML and XLSX reports there."),
]
JobIdArgument = Annotated[UUID, typer.Argument(metavar="JOB_ID", show_default=False)]
