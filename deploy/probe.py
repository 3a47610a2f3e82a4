"""Exits 0 when the server in this container answers 200 at a path, 1 otherwise: a health check.

    python3 probe.py /livez

Python's own client is used as it is lowest: no package, no curl in the image, and no proxy from the
environment in between.
"""

import http.client
import os
import sys

# Below the time that Docker gives a health check, so that the reason is printed.
TIMEOUT_S = 4.0


def main(path: str) -> int:
    """The exit code for `path`; what Docker keeps of the check is printed."""
    port = int(os.environ.get("FPN_PORT", "8000"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        print(reply.status, reply.read(500).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        print(f"{path}: {error}")
        return 1
    return 0 if reply.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
