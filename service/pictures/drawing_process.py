"""A process that draws one picture. Started by drawer.py for photographs that are not small.

stdin      a line of JSON: marks, picture_type, max_pixels, memory_bytes, parent; then the photograph
stdout     the picture
status     0, or TOO_LITTLE_MEMORY
"""

import json
import sys

from service.pictures.decoding import prepare_pillow
from service.pictures.drawing import Mark, drawn_picture
from service.pictures.worker import end_with, limit_memory, yield_to_the_server

TOO_LITTLE_MEMORY = 3


def main() -> int:
    """Draws, and says how it went."""
    orders = json.loads(sys.stdin.buffer.readline())
    end_with(orders["parent"])
    yield_to_the_server()
    limit_memory(orders["memory_bytes"])
    prepare_pillow()
    marks = [Mark(tuple(box), text, label) for box, text, label in orders["marks"]]
    try:
        data = sys.stdin.buffer.read()
        picture = drawn_picture(data, marks, orders["picture_type"], orders["max_pixels"])
    except MemoryError:
        return TOO_LITTLE_MEMORY
    sys.stdout.buffer.write(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
