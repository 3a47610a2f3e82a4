"""What a class (or a model) may be called, and a class's number in a data set.

A name is what a server can show, log and take in a query, and nothing that only looks like it.

The rule is that of docs/artifact.md, which the service has too (`service/artifact/parts.py`).
"""

from collections import Counter
from collections.abc import Sequence


def fault_of(names: Sequence[str]) -> str | None:
    """What is wrong with the names of a detector's classes, in label order; None if nothing is."""
    if not names:
        return "expected one class or more, got none"
    for name in names:
        if not is_name(name):
            return (
                "expected class names of printable characters without white space at the ends, got"
                f" {name!a}"
            )
    name, count = Counter(names).most_common(1)[0]
    return f"expected class names that differ, got {name!r} {count} times" if count > 1 else None


def fault_of_ids(ids: Sequence[object], classes: int) -> str | None:
    """What is wrong with the category ids of so many classes; None if nothing is."""
    if all(type(number) is int for number in ids) and len(ids) == len(set(ids)) == classes:
        return None
    return f"expected category_ids that are {classes} different whole numbers, got {list(ids)}"


def is_name(name: str) -> bool:
    """Whether this can be a name: no control character, no byte order mark, no white space but inside."""
    return bool(name) and name.isprintable() and name == name.strip()
