"""What Linux says of processes."""

from pathlib import Path

PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """`pid`, what it started, what those started, and so on."""
    children: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        each = int(path.parent.name)
        fields = stat_of(each)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(each)
    found = [pid]
    for each in found:  # grows meanwhile
        found += children.get(each, [])
    return found


def began_at(pid: int) -> str | None:
    """When it began, in the kernel's ticks; None if it has ended."""
    fields = stat_of(pid)
    return None if fields is None or fields[0] == "Z" else fields[19]


def stat_of(pid: int) -> list[str] | None:
    """The fields of a process after its name, which may hold anything: state, parent, ...; None if it has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
