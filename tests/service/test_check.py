"""Golden photographs in the process: `fpn-serve --check`, and a start that they stop. The tiny model, real decoding."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import onnx
import pytest
from onnx import numpy_helper

from service.engine.engine import Engine
from tests.other_cpu import output_on_avx2
from tests.places import ROOT
from tests.service.golden_files import golden_of, with_golden, with_manifest
from tests.service.images import encoded, plain
from tests.service.process import TIME_LIMIT_S, serving
from tests.service.tiny_model import write_tiny_int8_model

# The content decides their boxes, the colour their scores and classes.
FILES = {
    "red.jpg": encoded(plain(60, 90, (250, 200, 0)), "JPEG"),
    "dim.jpg": encoded(plain(75, 52, (180, 20, 0)), "JPEG"),
}
ON_AVX2 = """
import sys
from service.__main__ import main
try:
    main(["--check", sys.argv[1]])
except SystemExit as end:
    print("exit", end.code)
else:
    print("exit 0")
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, tiny_path: Path) -> Path:
    return with_golden(tiny_path, tmp_path_factory.mktemp("golden") / "model.onnx", FILES)


def with_one_weight_changed(path: Path, out: Path) -> Path:
    """`out`: the tiny model at `path`, whose first detection has 0.9 of its score."""
    model = onnx.load(path)
    (weights,) = (each for each in model.graph.initializer if each.name == "score_parts")
    values = numpy_helper.to_array(weights).copy()
    values[0, 0] = 0.9
    weights.CopyFrom(numpy_helper.from_array(values, "score_parts"))
    onnx.save(model, out)
    return out


def checked(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """What `fpn-serve --check` with `arguments` did."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FPN_")}
    return subprocess.run(
        [sys.executable, "-m", "service", "--check", *map(str, arguments)],
        cwd=ROOT,
        env={**inherited, "FPN_DEVICE": "cpu", "FPN_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT_S,
    )


def test_a_file_that_answers_as_at_export_passes_with_a_table(good: Path) -> None:
    done = checked(good)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["red.jpg", "2", "of", "2", "0.00000", "0.000"],
        ["dim.jpg", "2", "of", "2", "0.00000", "0.000"],
    ]


def test_one_changed_weight_fails_and_says_which_photograph_and_what(
    good: Path, tmp_path: Path
) -> None:
    changed = with_one_weight_changed(good, tmp_path / "model.onnx")
    done = checked(FPN_MODEL=str(changed))
    assert done.returncode == 1
    assert "red.jpg: bird at [22.5, 30.0, 67.5, 60.0] has score 0.8" in done.stdout
    assert "dim.jpg: cat at" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"fpn-serve: {changed}: golden photograph red.jpg: bird at")


def test_another_resize_rule_fails_and_says_so(good: Path, tmp_path: Path) -> None:
    rule = {
        "short_side": 24,
        "max_side": 80,
        "rounding": "round",
        "interpolation": "pillow-bilinear",
        "decoding": "whole",
    }
    done = checked(with_manifest(good, tmp_path / "model.onnx", resize=rule))
    assert done.returncode == 1
    assert "red.jpg: is resized to 36 x 24, expected 48 x 32" in done.stdout


def test_a_file_without_golden_photographs_cannot_be_checked(tiny_path: Path) -> None:
    done = checked(tiny_path)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line == (
        f"fpn-serve: {tiny_path}: it has no golden photographs: nothing to check; export it again with --golden"
    )


def test_a_server_whose_answers_are_not_those_of_export_ends_before_it_is_ready(
    good: Path, tmp_path: Path
) -> None:
    changed = with_one_weight_changed(good, tmp_path / "model.onnx")
    with serving(FPN_MODEL=str(changed)) as server:
        assert server.exit_code() == 1
    assert server.log[-1].startswith(f"fpn-serve: {changed}: golden photograph red.jpg: bird at")
    assert not any("event=ready" in line for line in server.log)
    assert "Traceback" not in "".join(server.log)


def test_a_server_says_that_it_answers_as_at_export_and_shows_no_files_of_photographs(
    good: Path,
) -> None:
    with serving(FPN_MODEL=str(good)) as server:
        server.line_with("the 2 golden photographs are answered as at export")
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}/model"
        golden = httpx.get(url, timeout=TIME_LIMIT_S).json()["manifest"]["golden"]
    assert [each["name"] for each in golden["photographs"]] == list(FILES)
    assert not any("jpeg" in each for each in golden["photographs"])


def test_a_server_says_that_it_has_nothing_to_check(tiny_path: Path) -> None:
    with serving(FPN_MODEL=str(tiny_path)) as server:
        server.line_with("no golden photographs: its answers are not checked")
        server.line_with("event=ready")


def test_kernels_that_saturate_fail_and_say_what_differs(tmp_path: Path) -> None:
    exact = write_tiny_int8_model(tmp_path / "exact.onnx", 127, 8)
    golden = golden_of(Engine(exact, "cpu", 1), FILES, 0.3)
    # It claims weights for which the fast kernels are right, so that they are taken.
    claimed = write_tiny_int8_model(tmp_path / "claimed.onnx", 127, 7)
    said = output_on_avx2(ON_AVX2, str(with_manifest(claimed, claimed, golden=golden)))
    assert "red.jpg: bird at [22.5, 30.0, 67.5, 60.0] has score 0.50" in said
    assert said.rstrip().endswith("exit 1")
