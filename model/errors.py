"""The errors that end a command in one line and an exit status."""


class Refused(ValueError):
    """A file, a setting or data that cannot be used; the message, one line, says what was expected and what came."""


class Stopped(KeyboardInterrupt):
    """A signal that a command has heard, by its number; what was to be saved is saved."""

    def __init__(self, number: int, said: str = "") -> None:
        super().__init__(said)
        self.number = number
