import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

from deploy.compose_test.client import png
from tests.places import ROOT


def run_with_path(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.compose_test"]
    environment = {"PATH": str(folder)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def fake_docker(folder: Path, script: str) -> None:
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)


def test_its_image_is_one_that_others_can_read() -> None:
    with Image.open(io.BytesIO(png(30, 40))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (40, 30))
        image.load()
        assert len(image.getcolors() or []) > 10


def test_it_says_in_one_line_that_docker_is_missing(tmp_path: Path) -> None:
    done = run_with_path(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("compose-test: no `docker` on the PATH")
    assert done.stderr.count("\n") == 1


def test_it_says_in_one_line_that_the_engine_does_not_run(tmp_path: Path) -> None:
    fake_docker(tmp_path, '[ "$1" = info ] && { echo "Cannot connect" >&2; exit 1; }; exit 0')
    done = run_with_path(tmp_path)
    assert done.returncode == 2
    assert "is it running? It said: Cannot connect" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_build_that_fails_is_a_failure_and_is_taken_down(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    fake_docker(tmp_path, f'echo "$@" >> {log}; case "$*" in *" build "*) exit 1;; esac')
    done = run_with_path(tmp_path)
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert " down --volumes" in log.read_text().splitlines()[-1]


def test_it_stays_away_from_the_project_that_a_user_runs(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    fake_docker(tmp_path, f'echo "$@" >> {log}; case "$*" in *" build "*) exit 1;; esac')
    run_with_path(tmp_path)
    calls = [line for line in log.read_text().splitlines() if line.startswith("compose --")]
    assert calls
    assert all("--project-name fpn-serve-compose-test" in line for line in calls)
