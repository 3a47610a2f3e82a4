from pathlib import Path

import pytest

from service.engine.providers import GpuOptions
from service.engine.session import CpuOptions, open_session


@pytest.mark.parametrize("spinning", [False, True])
def test_whether_waiting_threads_spin_is_what_was_asked_for(
    tiny_path: Path, spinning: bool
) -> None:
    session = open_session(tiny_path, "cpu", CpuOptions(2, spinning), GpuOptions())
    options = session.get_session_options()
    assert options.intra_op_num_threads == 2
    spins = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert spins == str(int(spinning))
