"""Prints what an image installs: the project's dependencies and those of one extra, one a line.

    python3 requirements.py pyproject.toml gpu

It lets a Dockerfile install them in a layer that does not depend on the sources. The CUDA wheels
that onnxruntime-gpu can bring along are left out, since the base of the gpu image has the libraries.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extra: str) -> list[str]:
    """The requirements of `project`, that table of a pyproject.toml, with those of `extra`.

    Raises:
        KeyError: there is no such extra.
    """
    wanted = [*project["dependencies"], *project["optional-dependencies"][extra]]
    return [re.sub(r"^onnxruntime-gpu\[[^]]*\]", "onnxruntime-gpu", each) for each in wanted]


if __name__ == "__main__":
    pyproject, chosen = sys.argv[1:]
    table = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    print(*requirements(table, chosen), sep="\n")
