"""The process: what it says when it cannot start, and how it ends."""

import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import onnx
import pytest

from service.__main__ import main
from service.keys import Keys
from service.settings import describe_settings
from tests.places import ROOT
from tests.service.golden_files import with_manifest
from tests.service.images import png
from tests.service.process import TIME_LIMIT_S, ServerProcess, serving

SERVE_PYTHON = ROOT / ".venv" / "bin" / "python"


def complaint(server: ServerProcess) -> str:
    """The one line that a server which refuses to start says, after its name."""
    assert server.exit_code() == 2
    (line,) = server.log
    return line.removeprefix("fpn-serve: ")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FPN_DEVISE", "cpu", r"FPN_DEVISE: no such setting; did you mean FPN_DEVICE\?"),
        ("FPN_MODEL", "pyproject.toml", "pyproject.toml: ONNX Runtime cannot load it: .*"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    variable: str, value: str, said: str
) -> None:
    with serving(**{variable: value}) as server:
        assert re.fullmatch(said, complaint(server))


def test_a_batch_that_the_model_does_not_take_is_one_line_and_exit_code_2(
    tiny_path: Path, tmp_path: Path
) -> None:
    limits = {"max_side": 96, "max_batch": 4, "max_regions": 9}
    model = str(with_manifest(tiny_path, tmp_path / "model.onnx", limits=limits))
    with serving(FPN_MODEL=model, FPN_MAX_BATCH="5") as server:
        said = f"FPN_MAX_BATCH: expected at most 4, which is what {model} takes; got 5"
        assert complaint(server) == said


def test_a_port_in_use_is_one_line_and_exit_code_2(tiny_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with serving(FPN_MODEL=str(tiny_path), FPN_PORT=port) as server:
            assert f"port {port}: Address already in use" in complaint(server)


def test_a_model_that_fails_to_warm_up_ends_the_process_with_one_line(
    tmp_path: Path, tiny_path: Path
) -> None:
    model = onnx.load(tiny_path)
    (poison,) = (each for each in model.graph.initializer if each.name == "thirteen")
    poison.int64_data[:] = [0]  # black frames, which warming up uses, are now poison
    onnx.save(model, tmp_path / "model.onnx")
    with serving(FPN_MODEL=str(tmp_path / "model.onnx")) as server:
        assert server.exit_code() == 1
        assert "model.onnx: the model failed to warm up:" in server.log[-1]


def test_a_signal_while_a_slow_model_warms_up_is_no_failure(
    tmp_path: Path, tiny_path: Path
) -> None:
    model = onnx.load(tiny_path)
    (endless,) = (each for each in model.graph.initializer if each.name == "fourteen")
    endless.int64_data[:] = [0]  # black frames, which warming up uses, now take for ever
    onnx.save(model, tmp_path / "model.onnx")
    with serving(FPN_MODEL=str(tmp_path / "model.onnx"), FPN_SHUTDOWN_S="0") as server:
        server.line_with("event=listening")
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_requests_finish_and_then_ends_the_process(
    tiny_path: Path, sent: signal.Signals, code: int
) -> None:
    image = png(30, 45)
    head = (
        "POST /detect HTTP/1.1\r\nHost: test\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(image)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with serving(FPN_MODEL=str(tiny_path)) as server:
        server.line_with("event=ready")
        with socket.create_connection(("127.0.0.1", server.port()), TIME_LIMIT_S) as connection:
            connection.sendall(head.encode())
            assert b"100 Continue" in connection.recv(1000)  # it is inside
            server.process.send_signal(sent)
            connection.sendall(image)
            with connection.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
        assert server.exit_code() == code
    assert "Traceback" not in "".join(server.log)


def test_a_request_that_does_not_finish_is_given_up_after_the_grace(tiny_path: Path) -> None:
    head = (
        "POST /detect HTTP/1.1\r\nHost: test\r\nContent-Type: image/png\r\n"
        "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    )
    with serving(FPN_MODEL=str(tiny_path), FPN_SHUTDOWN_S="1") as server:
        server.line_with("event=ready")
        with socket.create_connection(("127.0.0.1", server.port()), TIME_LIMIT_S) as connection:
            connection.sendall(head.encode())
            assert b"100 Continue" in connection.recv(1000)
            server.process.send_signal(signal.SIGTERM)
            assert server.exit_code() == 0


def test_an_engine_that_hangs_fails_liveness_and_does_not_hold_up_the_end(tiny_path: Path) -> None:
    variables = {"FPN_MODEL": str(tiny_path), "FPN_STALL_S": "0.1", "FPN_SHUTDOWN_S": "0"}
    with serving(**variables) as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}"
        files = {"images": png(30, 45, (0, 0, 14))}
        late = httpx.post(f"{url}/detect?timeout_s=1", files=files, timeout=TIME_LIMIT_S)
        alive = httpx.get(f"{url}/livez", timeout=TIME_LIMIT_S)
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 1
    assert (late.status_code, alive.status_code) == (504, 503)
    assert "a batch has been running for" in alive.json()["detail"]


def test_a_running_server_says_what_it_does_and_answers_on_its_socket(tiny_path: Path) -> None:
    with serving(FPN_MODEL=str(tiny_path)) as server:
        url = f"http://127.0.0.1:{server.port()}"
        start = server.line_with("event=listening")
        server.line_with("event=ready")
        answer = httpx.post(f"{url}/detect", files={"images": png(30, 45)}, timeout=TIME_LIMIT_S)
        chunks, kind = iter([png(30, 45)]), {"content-type": "image/png"}
        chunked = httpx.post(f"{url}/detect", content=chunks, headers=kind, timeout=TIME_LIMIT_S)
        line = server.line_with("path=/detect")
    assert "model=tiny version=0123456789ab provider=CPUExecutionProvider" in start
    assert f'try="curl -F images=@photo.jpg {url}/detect"' in start
    assert answer.json()["images"] == chunked.json()["images"]
    assert f"request_id={answer.headers['x-request-id']} " in line
    assert "code=200" in line


def test_help_lists_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert describe_settings() in capsys.readouterr().out


@pytest.mark.skipif(
    not SERVE_PYTHON.exists(), reason="needs the environment that `make install` makes"
)
def test_the_service_imports_where_there_is_no_torch() -> None:
    code = (
        "import importlib.util, service.app, service.__main__;"
        "assert importlib.util.find_spec('torch') is None"
    )
    subprocess.run([SERVE_PYTHON, "-W", "error", "-c", code], cwd=ROOT, check=True)


def test_a_new_key_is_shown_once_and_its_entry_does_not_hold_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--new-key", "camera"])
    out, err = capsys.readouterr()
    secret = err.split()[-1]
    assert secret not in out
    (tmp_path / "keys.toml").write_text(out)
    assert Keys(tmp_path / "keys.toml").find(secret).name == "camera"
