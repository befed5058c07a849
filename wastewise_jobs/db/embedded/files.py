"""Where an embedded PostgreSQL lives: its user, its folders, its data directory. All blocking.

PostgreSQL refuses uid 0, so root's server runs as `postgres` or `nobody`. That user must be able to
reach binaries and data through every parent folder. Where it cannot, the binaries are copied and
the data is placed elsewhere; the mode of a folder that we did not create is never changed, and no
user is ever created.
"""

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from wastewise_jobs.db.embedded.binaries import (
    can_enter,
    find_binaries,
    major_version,
    reachable_binaries,
    run,
)
from wastewise_jobs.errors import ConfigurationError, DatabaseUnusableError

# Not the home of root itself: its mode may be what made a place elsewhere necessary.
ELSEWHERE = Path("/var/lib/wastewise-jobs-servers")

# A socket path holds 107 bytes on Linux and 103 on macOS, and `/.s.PGSQL.5432` takes 14 of them.
_LONGEST_SOCKET_FOLDER = 80
# Commas separate hosts in a DSN, so a folder with unusual letters is not used for the socket.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Everything that must be known to start, reach and stop one embedded server."""

    binaries: Path
    base: Path
    socket_folder: Path
    user: pwd.struct_passwd | None

    @property
    def data(self) -> Path:
        """The data directory; it exists only once initdb has finished."""
        return self.base / "data"

    @property
    def log(self) -> Path:
        """What the server writes to standard error."""
        return self.base / "server.log"

    @property
    def dsn(self) -> str:
        """Names every part, so that PGPORT and the like in the environment change nothing."""
        host = quote(str(self.socket_folder))
        return f"postgresql://postgres@/postgres?host={host}&port=5432&sslmode=disable"


def find_place(home: Path, bin_dir: Path | None) -> Place:
    """Find the binaries, create the missing folders and check that the server's user reaches them.

    Call it under the start lock: it creates and copies.
    """
    user = _server_user(home)
    base = _base(home, user)
    binaries = reachable_binaries(bin_dir or find_binaries(), base, user)
    place = Place(binaries, base, _socket_folder(base), user)
    _make_private(place.socket_folder, user)
    return place


def make_home(home: Path) -> None:
    """Create the home and its missing parents: for root, so that others can pass but not list them.

    The mode is set explicitly: under root's umask of 077 the server's user could not pass.
    """
    mode = 0o711 if os.geteuid() == 0 else 0o700
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        with _opened(folder) as number:
            os.fchmod(number, mode)


def check_home(home: Path) -> None:
    """Refuse a home in which others could put their own files in the place of ours."""
    status = home.stat()
    if status.st_uid in {os.geteuid(), 0} and not status.st_mode & stat.S_IWOTH:
        return
    raise ConfigurationError(
        "WASTEWISE_HOME",
        f"{home} belongs to somebody else, or anybody may write there: "
        "set it to a folder of your own",
    )


def open_lock(path: Path) -> IO[bytes]:
    """The lock file, which nobody else may open: whoever can read it can lock it, and us out."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, 0o600), "ab")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink > 1:
        file.close()
        raise ConfigurationError(
            "WASTEWISE_HOME", f"{path} is not ours alone: remove it, or set it to another folder"
        )
    os.fchmod(file.fileno(), 0o600)
    return file


def make_data(place: Place, *, lock: int, sync: bool) -> None:
    """Run initdb if there is no data yet, and refuse data of another release.

    initdb inherits the start lock: if we are killed, the next one waits until it has ended. It
    works under another name until it is done, so that a killed one leaves no half of a directory.
    """
    version = major_version(place.binaries, place.user)
    if place.data.exists():
        _check_version(place, version)
        return
    new = place.base / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    with _opened(new) as number:
        _give(number, place.user)
    command = [str(place.binaries / "initdb"), "-D", str(new), "-U", "postgres", "-A", "trust"]
    command += ["-E", "UTF8", *_locale_options(version), *([] if sync else ["--no-sync"])]
    made = run(command, place.user, cwd=new, keep_open=[lock])
    if made.returncode != 0:
        raise DatabaseUnusableError(f"initdb failed for {place.data}: {made.stderr.strip()}")
    new.rename(place.data)


def _server_user(home: Path) -> pwd.struct_passwd | None:
    """None means: as ourselves. Existing data decides, since a `postgres` may appear later on."""
    if os.geteuid() != 0:
        return None
    data = home / "server" / "data"
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return pwd.getpwuid(owner)
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise DatabaseUnusableError(
        "PostgreSQL does not run as root, and there is neither a user postgres nor nobody: "
        "start as an ordinary user, or set DATABASE_URL"
    )


def _base(home: Path, user: pwd.struct_passwd | None) -> Path:
    """The server's own folder below the home, or where the link of that name points.

    The link is made when the home lies below a folder that only root may enter: the server then
    lives below /var/lib, and belongs to this home for as long as the link exists.
    """
    server = home / "server"
    if not server.exists():
        if can_enter(home, user):
            make_home(server)
        else:
            server.unlink(missing_ok=True)
            server.symlink_to(_folder_elsewhere())
    base = server.resolve()
    if not can_enter(base, user):
        raise ConfigurationError(
            "WASTEWISE_HOME",
            f"user {user.pw_name if user else ''} cannot enter {base}: "
            "set it to a folder that can be reached, or set DATABASE_URL",
        )
    return base


def _folder_elsewhere() -> Path:
    make_home(ELSEWHERE)
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=ELSEWHERE))
    folder.chmod(0o711)
    return folder


def _socket_folder(base: Path) -> Path:
    folder = base / "s"
    plain = _PLAIN_PATH.fullmatch(str(folder))
    if plain and len(str(folder)) <= _LONGEST_SOCKET_FOLDER:
        return folder
    # Not gettempdir(): all processes that share the home must agree, whatever their TMPDIR is.
    return Path("/tmp", "wwj-" + hashlib.sha256(os.fsencode(base)).hexdigest()[:16])  # noqa: S108


def _make_private(folder: Path, user: pwd.struct_passwd | None) -> None:
    """Create the socket's folder, or refuse one that others own: in it they would be superusers."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    owner = user.pw_uid if user else os.geteuid()
    with contextlib.suppress(OSError), _opened(folder) as number:
        status = os.fstat(number)
        # Root's own is one that a process created, and was killed before it gave it away.
        if not status.st_mode & 0o077 and status.st_uid in {owner, os.geteuid()}:
            _give(number, user)
            return
    raise DatabaseUnusableError(
        f"{folder} exists, but is not a private folder of the server's user (uid {owner}): "
        "remove it, or set WASTEWISE_HOME to another folder"
    )


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder itself: what is looked at is what is changed, and never what a link leads to.

    Raises OSError for a link, as for anything else that is no folder.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield number
    finally:
        os.close(number)


def _give(folder: int, user: pwd.struct_passwd | None) -> None:
    if user is not None:
        os.fchown(folder, user.pw_uid, user.pw_gid)


def _check_version(place: Place, ours: int) -> None:
    made_by = (place.data / "PG_VERSION").read_text(encoding="ascii").strip()
    if made_by != str(ours):
        raise DatabaseUnusableError(
            f"{place.data} holds data of PostgreSQL {made_by}, but {place.binaries} is PostgreSQL "
            f"{ours}: set WASTEWISE_PG_BIN to binaries of {made_by}, or WASTEWISE_HOME to another "
            "folder, or move the data with pg_dump"
        )


def _locale_options(version: int) -> list[str]:
    """Byte order, and Unicode's upper and lower case; from 17 on without the machine's locales."""
    with_builtin_provider = 17
    if version >= with_builtin_provider:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
