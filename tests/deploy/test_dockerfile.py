import json
import re
import tomllib

import pytest

from service.settings import PREFIX, Settings
from tests.deploy.files import Stage, read_dockerfile
from tests.places import ROOT

ARGUMENTS, STAGES = read_dockerfile()
FINAL = [STAGES["cpu"], STAGES["gpu"]]
TEXT = (ROOT / "Dockerfile").read_text()


def as_cpu(stage: Stage) -> list[tuple[str, str]]:
    return [(n, a.replace("cuda", "cpu").replace("gpu", "cpu")) for n, a in stage.instructions]


@pytest.mark.parametrize(
    ("cpu", "gpu"), [(f"cpu{part}", f"gpu{part}") for part in ("-requirements", "-builder", "")]
)
def test_the_gpu_stages_differ_from_the_cpu_stages_only_in_extra_and_device(
    cpu: str, gpu: str
) -> None:
    assert as_cpu(STAGES[gpu]) == STAGES[cpu].instructions


def test_the_cpu_target_comes_before_any_stage_on_the_cuda_base() -> None:
    assert TEXT.index("AS cpu\n") < TEXT.index("FROM ${CUDA_IMAGE}")


@pytest.mark.parametrize("stage", FINAL)
def test_a_final_stage_starts_from_a_base_without_build_tools(stage: Stage) -> None:
    assert not any("pip" in run or "apt-get" in run for run in stage.arguments("RUN"))
    base_runs = " ".join(STAGES[stage.base].arguments("RUN"))
    installed = re.findall(r"--no-install-recommends (.*?) &&", base_runs)
    assert installed in ([], ["python3"])


@pytest.mark.parametrize("stage", FINAL)
def test_a_final_stage_runs_as_a_numeric_user_that_is_not_root(stage: Stage) -> None:
    (user,) = stage.arguments("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


@pytest.mark.parametrize("stage", FINAL)
def test_the_server_is_the_first_process_so_that_signals_reach_it(stage: Stage) -> None:
    (entrypoint,) = stage.arguments("ENTRYPOINT")
    assert json.loads(entrypoint) == ["fpn-serve"]


@pytest.mark.parametrize("stage", FINAL)
def test_the_health_check_asks_for_liveness_without_a_shell(stage: Stage) -> None:
    (check,) = stage.arguments("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2])[-1] == "/livez"


@pytest.mark.parametrize("stage", FINAL)
def test_every_setting_in_the_dockerfile_is_one_of_the_servers(stage: Stage) -> None:
    names = re.findall(rf"\b{PREFIX}\w+", " ".join(stage.arguments("ENV")))
    assert names
    assert {name.removeprefix(PREFIX).lower() for name in names} <= set(Settings.model_fields)


@pytest.mark.parametrize("stage", FINAL)
def test_onnxruntime_sends_nothing_from_an_image_whatever_loads_it(stage: Stage) -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in " ".join(stage.arguments("ENV")).split()


def test_every_base_image_is_an_argument_with_a_pinned_default() -> None:
    bases = {stage.base for stage in STAGES.values()} - set(STAGES)
    assert bases == {f"${{{name}}}" for name in ARGUMENTS}
    assert all(re.search(r":[\w.-]*\d", default) for default in ARGUMENTS.values())


def test_no_stage_names_torch_or_an_extra_that_brings_it() -> None:
    instructions = [text for stage in STAGES.values() for _, text in stage.instructions]
    assert not re.search(r"torch|\[[^]]*(train|export|dev)", " ".join(instructions))


def test_the_dockerfile_asks_for_nothing_that_only_buildkit_has() -> None:
    assert not re.search(r"#\s*syntax=|--mount|--link|--chmod|<<", TEXT)


def test_the_cuda_base_is_the_one_that_onnxruntime_gpu_was_built_against() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (gpu,) = extras["gpu"]
    runtime = re.search(r"~=(\d+\.\d+)\.", gpu)
    cuda = re.search(r"cuda:(\d+\.\d+)\.\d+-cudnn-runtime-", ARGUMENTS["CUDA_IMAGE"])
    # A new pair belongs here once it has been looked up as deploy/README.md says.
    assert runtime is not None
    assert cuda is not None
    assert (runtime[1], cuda[1]) == ("1.31", "13.0")


def test_all_that_the_dockerfile_copies_and_no_more_is_let_in_by_dockerignore() -> None:
    copied = {
        source
        for stage in STAGES.values()
        for arguments in stage.arguments("COPY")
        if not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
