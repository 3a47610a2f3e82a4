"""The one error that a command turns into a line and an exit status."""


class Refused(ValueError):
    """A file, a setting or data that cannot be used; the message, one line, says what was expected and what came."""
