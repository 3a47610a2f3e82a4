"""The state dict within a file of weights, whatever a training program has put around it.

Programs write it bare, or under "model" or "state_dict" beside their options and optimizers, and prefix its keys:
`module.` (DataParallel), `_orig_mod.` (torch.compile), `model.` (Lightning, whose module holds the network). One key
that every such state dict has tells where it is and what stands before it.
"""

from collections.abc import Iterator, Mapping

from model.errors import Refused

# Components that wrappers put into a key, at any place in it.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Where programs put the weights first, then whatever else the file holds.
_PLACES = ("model", "state_dict", "model_state_dict")
_DEPTH = 3
_NAMED = 3


class NoStateDict(Refused):
    """A file's content without the state dict that was looked for; the message says which keys there are instead."""


def state_dict_in(content: object, known: str) -> dict[str, object]:
    """The state dict in `content` that has the key `known`, its keys without what wrappers put before them.

    Raises:
        NoStateDict: there is none; the message names keys found.
    """
    for state in _mappings(content, _DEPTH):
        plain = {_unwrapped(key): value for key, value in state.items() if isinstance(key, str)}
        # The shortest: layers within the network may end alike.
        found = min((k for k in plain if f".{k}".endswith(f".{known}")), key=len, default=None)
        if found is not None:
            prefix = found.removesuffix(known)
            return {k.removeprefix(prefix): v for k, v in plain.items() if k.startswith(prefix)}
    raise NoStateDict(f"nothing in it is named {known}, got {_told(content)}")


def names_in(content: object) -> list[str]:
    """All names in `content`, whatever they stand for."""
    return [str(key) for state in _mappings(content, _DEPTH) for key in state]


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _mappings(content: object, depth: int) -> Iterator[Mapping[object, object]]:
    """`content` and the mappings in it, the likeliest places first."""
    if not isinstance(content, Mapping) or not depth:
        return
    yield content
    for key in sorted(content, key=lambda key: _PLACES.index(key) if key in _PLACES else 99):
        yield from _mappings(content[key], depth - 1)


def _told(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"another object: {type(content).__name__}"
    largest = max(_mappings(content, _DEPTH), key=len)
    names = [str(key) for key in largest]
    return f"{len(names)} names such as {', '.join(names[:_NAMED])}" if names else "nothing"
