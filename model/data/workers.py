"""What the processes that decode images have in common."""

import signal


def leave_signals(_: int) -> None:
    """Makes a loading process deaf to what ends a command: its parent decides when the work is over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
