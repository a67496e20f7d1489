"""Exception for faults that a user causes and can fix."""

LONGEST = 2000  # characters of a message
KEPT = 400  # characters at the end of a longer one, which say how to fix it


class InputError(ValueError):
    """Bad input. The message is one line: file, value, what is wrong, and how to fix it.

    Line ends and other characters that are not printed are escaped, since values come from files, and the middle of a long one is left out.
    """

    def __init__(self, message: str) -> None:
        line = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in message)
        left_out = f" [{len(line) - LONGEST:,} characters] "
        super().__init__(line if len(line) <= LONGEST else line[: LONGEST - KEPT] + left_out + line[-KEPT:])
