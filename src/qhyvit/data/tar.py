"""Reading of tar archives from elsewhere, whose headers may state any size."""

import tarfile
from typing import Self

_LARGEST_HEADER = 2**20  # bytes of names and attributes in front of a file
_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class Member(tarfile.TarInfo):
    """Member of an archive, to be given as ``tarinfo``. Raises ValueError for sizes on which `tarfile` reads without end.

    A negative size leads back to the same member, and a header is read into memory at once.
    """

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self._size

    @size.setter
    def size(self, stated: int) -> None:
        if stated < 0:
            raise ValueError(f"it has a member of {stated} bytes")
        self._size = stated

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the member of a block. Raises ValueError also for a header that is too large."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _LARGEST_HEADER:
            raise ValueError(f"it has a header of {member.size} bytes")
        return member
