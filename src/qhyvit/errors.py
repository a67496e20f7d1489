"""Exception for faults that a user causes and can fix."""


class InputError(ValueError):
    """Bad input. The message is one line: file, value, what is wrong, and how to fix it."""
