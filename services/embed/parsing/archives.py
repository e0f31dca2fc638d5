"""Refuses archives that would inflate to more than anybody wrote."""

import io
import zipfile
import zlib

from services.embed.domain import EncryptedDocument, MalformedDocument, ZipBomb

MAX_ENTRIES = 20_000
MAX_INFLATED_BYTES = 512 * 1024**2
# Repetitive sheets shrink a hundredfold; what shrinks more, and is not small, is no document.
MAX_RATIO = 150
RATIO_FROM_BYTES = 32 * 1024**2

_BLOCK = 1024**2
_ENCRYPTED_FLAG = 0x1


def open_archive(content: bytes) -> zipfile.ZipFile:
    """Return the archive in `content`, after all of it was inflated once under the limits.

    Raises:
        ZipBomb: it says, or turns out, to be larger than is allowed.
        EncryptedDocument: a part of it is encrypted.
        MalformedDocument: it is broken.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        entries = archive.infolist()
        _refuse_bomb(len(entries), sum(entry.file_size for entry in entries), len(content))
        _inflate(archive, len(content))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise MalformedDocument("the file is a broken archive") from error
    return archive


def _inflate(archive: zipfile.ZipFile, compressed: int) -> None:
    inflated = 0
    for entry in archive.infolist():
        if entry.flag_bits & _ENCRYPTED_FLAG:
            raise EncryptedDocument("the archive is encrypted")
        with archive.open(entry) as part:
            while block := part.read(_BLOCK):
                inflated += len(block)
                _refuse_bomb(0, inflated, compressed)


def _refuse_bomb(entries: int, inflated: int, compressed: int) -> None:
    too_dense = inflated > RATIO_FROM_BYTES and inflated > compressed * MAX_RATIO
    if entries > MAX_ENTRIES or inflated > MAX_INFLATED_BYTES or too_dense:
        raise ZipBomb("the file would inflate to more than is allowed")
