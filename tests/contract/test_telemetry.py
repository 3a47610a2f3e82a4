"""Libraries that would write a device id and events to send into the home folder: here they never do."""

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.places import ROOT
from tests.service.images import png
from tests.service.process import TIME_LIMIT_S, serving
from tests.service.tiny_model import write_tiny_model

GUARDS = {Path("service/engine/runtime.py"), Path("export/runtime.py")}
SESSION = """\
import sys
from export.runtime import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """A user's: ONNX Runtime keeps quiet by itself where a variable tells of continuous integration."""
    cache = home / "cache"
    cache.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(cache)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def files(home: Path) -> list[str]:
    return [str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()]


def run(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True)


@pytest.mark.skipif(
    tuple(map(int, version("onnxruntime").split(".")[:2])) < (1, 29),
    reason="ONNX Runtime has telemetry on Linux since 1.29",
)
def test_without_the_guard_onnxruntime_leaves_a_device_id(
    home: Path, environment: dict[str, str]
) -> None:
    run(environment, "-c", "import onnxruntime")
    assert [name for name in files(home) if name.endswith("deviceid")]


def test_a_server_that_answers_leaves_no_file(
    home: Path, environment: dict[str, str], model: Path
) -> None:
    with serving(environment, FPN_MODEL=str(model)) as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}/detect"
        answer = httpx.post(url, files={"images": png(30, 45)}, timeout=TIME_LIMIT_S)
        server.process.terminate()
        assert server.exit_code() == 0
    assert answer.status_code == 200
    assert files(home) == []


def test_the_offline_command_leaves_no_file(
    home: Path, environment: dict[str, str], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "image.png").write_bytes(png(30, 45))
    run(environment, "-m", "service.offline", str(model), str(tmp_path / "image.png"))
    assert files(home) == []


def test_a_session_of_the_export_leaves_no_file(
    home: Path, environment: dict[str, str], model: Path
) -> None:
    run(environment, "-c", SESSION, str(model))
    assert files(home) == []


def test_a_user_who_sets_the_variable_to_0_is_not_followed_either(
    home: Path, environment: dict[str, str], model: Path
) -> None:
    run({**environment, "ORT_DISABLE_TELEMETRY": "0"}, "-c", SESSION, str(model))
    assert files(home) == []


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs the bench extra")
def test_the_benchmark_of_openvino_leaves_no_file(home: Path, environment: dict[str, str]) -> None:
    run(environment, "-c", "import benchmarks.engine.openvino_contenders")
    assert files(home) == []


def test_only_the_modules_that_turn_it_off_import_onnxruntime() -> None:
    importers = {
        path.relative_to(ROOT)
        for package in ("service", "model", "export", "deploy", "benchmarks", "tests")
        for path in (ROOT / package).rglob("*.py")
        if "onnxruntime" in imported(path)
    }
    assert importers == GUARDS


def imported(path: Path) -> set[str]:
    """The top-level packages that the file at `path` imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names
