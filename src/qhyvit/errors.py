"""Exceptions for faults that a user causes and can fix."""

import errno
import os
from pathlib import Path
from textwrap import shorten

LONGEST = 2000  # characters of a message
KEPT = 400  # characters at the end of a longer one, which say how to fix it


class InputError(ValueError):
    """Bad input. The message is one line: file, value, what is wrong, and how to fix it.

    Line ends and other characters that are not printed are escaped, since values come from files, and the middle of a long one is left out.
    """

    def __init__(self, message: str) -> None:
        line = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in message)
        left_out = f" [{len(line) - LONGEST:,} characters] "
        self.line = line if len(line) <= LONGEST else line[: LONGEST - KEPT] + left_out + line[-KEPT:]
        super().__init__(self.line)

    def __str__(self) -> str:
        """Return the line; torch.fx adds others to the arguments of errors in the graphs that it runs."""
        return self.line


def first_words(error: Exception) -> str:
    """Return the start of the message of another library's error in one line; the kind of the error if it has no message."""
    return shorten(str(error), 200) or type(error).__name__


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
MISPLACED = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class UnwritableError(InputError):
    """Output that cannot be written to ``path``, as an errno ``code`` says.

    Its disk is full or fails, its folder cannot be written, or no file can have this path.
    """

    def __init__(self, path: Path | str, code: int) -> None:
        self.path, self.code = Path(path), code
        fix = "make its folder writable, or give another" if code in CLOSED else "free space there, or give another folder"
        fix = "give another path" if code in MISPLACED else fix
        super().__init__(f"{path}: cannot be written ({os.strerror(code)}); {fix}")
