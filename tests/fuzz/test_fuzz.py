"""A few hundred cases of `make fuzz`, the same in every run."""

from pathlib import Path

from tests.fuzz.run import findings, fuzzed_server
from tests.service.tiny_model import write_tiny_model


def test_no_message_gets_an_answer_that_the_documentation_does_not_have(tmp_path: Path) -> None:
    with fuzzed_server(write_tiny_model(tmp_path / "tiny.onnx")) as server:
        counts, found = findings(server, range(400))
    assert found == []
    assert counts["200"] > 20
