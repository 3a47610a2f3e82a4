"""Several processes and several nodes: they read a share each, stop together, and others go on from what they left."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.data.annotations import ImageEntry
from model.data.faults import Fault
from model.data.image_files import decodable
from model.network.checkpoint import load_detector, load_training
from model.train import main
from tests.model.launching import LAUNCHER, free_port, node
from tests.model.small import run_values
from tests.places import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

PATIENCE_S = 120.0
NOT_YET = 10_000  # steps that no test waits for


def begun(photos: Path, folder: Path, steps: int) -> str:
    path = folder / f"run-{steps}.json"
    path.write_text(json.dumps(run_values(photos, steps)))
    return str(path)


def start(launcher: list[str], config: str, out: Path, *options: str) -> subprocess.Popen[str]:
    """A process of its own group, as a shell starts it."""
    return subprocess.Popen(
        [*launcher, config, "--out", str(out), "--device", "cpu", *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def losses(out: Path) -> list[dict[str, Any]]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "images_per_s"} for line in lines]


def wait_for_steps(out: Path, steps: int, process: subprocess.Popen[str]) -> None:
    record = out / "metrics.jsonl"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if record.exists() and record.read_bytes().count(b"\n") >= steps:
            return
        time.sleep(0.05)
    pytest.fail(f"not {steps} steps: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_processes_that_are_sent_a_signal_stop_after_the_same_step(
    photos: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    """Torchrun passes both on; Ctrl-C goes to its group, but its processes have sessions of their own."""
    out = tmp_path / "run"
    process = start(LAUNCHER, begun(photos, tmp_path, NOT_YET), out)
    wait_for_steps(out, 2, process)
    if sent == signal.SIGTERM:
        process.send_signal(sent)
    else:
        os.killpg(process.pid, sent)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert f"{sent.name} came after step" in said
    done = load_training(out / "last.pt").step
    assert [line["step"] for line in losses(out)] == list(range(1, done + 1))
    # one process goes on with what two began, and is where it would be alone
    more = ["--device", "cpu", "--set", f"schedule.steps={done + 1}"]
    config = begun(photos, tmp_path, NOT_YET)
    assert main([config, "--out", str(out), "--resume", *more]) == 0
    assert main([config, "--out", str(tmp_path / "alone"), *more]) == 0
    for one, other in zip(losses(out), losses(tmp_path / "alone"), strict=True):
        assert one == pytest.approx(other, rel=1e-2)


def test_two_nodes_train_as_one_process_does_and_one_goes_on(photos: Path, tmp_path: Path) -> None:
    config, port = begun(photos, tmp_path, 3), free_port()
    nodes = [start(node(rank, port), config, tmp_path / "run") for rank in (0, 1)]
    ends = [each.communicate(timeout=PATIENCE_S)[1] for each in nodes]
    assert [each.returncode for each in nodes] == [0, 0], ends
    more = ["--device", "cpu", "--set", "schedule.steps=4"]
    assert main([config, "--out", str(tmp_path / "run"), "--resume", *more]) == 0
    assert main([config, "--out", str(tmp_path / "alone"), *more]) == 0
    for one, other in zip(losses(tmp_path / "run"), losses(tmp_path / "alone"), strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    expected = load_detector(tmp_path / "alone" / "model.pt").state_dict()
    for name, value in load_detector(tmp_path / "run" / "model.pt").state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


class Share:
    """One of three who decode, who knows what the others found."""

    def __init__(self, rank: int, others: dict[int, list[bool]]) -> None:
        self.count, self.rank, self.others = 3, rank, others

    def gathered(self, mine: Sequence[bool], total: int) -> list[bool]:
        self.others[self.rank] = list(mine)
        everyone = [True] * total
        for rank, found in self.others.items():
            everyone[rank :: self.count] = found
        return everyone


def test_each_process_decodes_its_share_and_all_leave_out_the_same(tmp_path: Path) -> None:
    images = [ImageEntry(id=i, file_name=f"{i}.png", width=40, height=30) for i in range(7)]
    for image in images:
        pixels = np.random.default_rng(image.id).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / image.file_name)
    damaged = tmp_path / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    found: dict[int, list[bool]] = {}
    kept = []
    for rank in range(3):
        faults: dict[Fault, list[str]] = {Fault.UNREADABLE: []}
        kept = decodable(images, tmp_path, faults, Share(rank, found))
    assert {rank: len(each) for rank, each in found.items()} == {0: 3, 1: 2, 2: 2}
    assert [image.id for image in kept] == [0, 1, 2, 3, 5, 6]
    assert faults[Fault.UNREADABLE] == ["4.png"]
