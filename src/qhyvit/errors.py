"""The one exception that a user causes and can mend."""


class InputError(ValueError):
    """Bad input. The message is one line: what is wrong, where, and how to mend it."""
