import json
import re
import subprocess
import tomllib

from service.settings import PREFIX, Settings
from tests.deploy.files import read_dockerfile, tool
from tests.places import ROOT

ARGUMENTS, STAGES = read_dockerfile()
FINAL = STAGES["detector"]
TEXT = (ROOT / "Dockerfile").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_cpu_and_gpu_are_made_by_the_same_instructions() -> None:
    assert set(STAGES) == {"base", "builder", "detector"}
    assert STAGES["base"].base == "${BASE_IMAGE}"
    assert {STAGES["builder"].base, FINAL.base} == {"base"}
    assert set(ARGUMENTS) == {"BASE_IMAGE", "DEVICE"}


def test_the_gpu_image_is_what_a_plain_build_makes() -> None:
    assert ARGUMENTS["DEVICE"] == "cuda"
    assert ARGUMENTS["BASE_IMAGE"].startswith("nvidia/cuda:")


def test_the_final_stage_starts_from_a_base_without_build_tools() -> None:
    assert not any("pip" in run or "apt-get" in run for run in FINAL.arguments("RUN"))
    base_runs = " ".join(STAGES["base"].arguments("RUN"))
    assert re.findall(r"--no-install-recommends (.*?) &&", base_runs) == ["python3"]


def test_everything_that_pip_installs_is_locked_with_hashes_or_ours() -> None:
    commands = re.findall(
        r"pip --python \S+ (?:install|wheel) (.*?)(?: && |$)",
        " && ".join(STAGES["builder"].arguments("RUN")),
    )
    assert len(commands) == 4
    locked = [each for each in commands if "-r" in each.split()]
    ours = [each for each in commands if "-r" not in each.split()]
    assert all("--require-hashes --no-deps --only-binary :all:" in each for each in locked)
    assert all("--no-deps" in each and each.endswith((" .", " /wheel/*.whl")) for each in ours)


def test_the_final_stage_runs_as_a_numeric_user_that_is_not_root() -> None:
    (user,) = FINAL.arguments("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


def test_the_server_is_the_first_process_so_that_signals_reach_it() -> None:
    (entrypoint,) = FINAL.arguments("ENTRYPOINT")
    assert json.loads(entrypoint) == ["fpn-serve"]


def test_the_health_check_asks_for_readiness_without_a_shell() -> None:
    (check,) = FINAL.arguments("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2])[-1] == "/readyz"


def test_every_setting_in_the_dockerfile_is_one_of_the_servers() -> None:
    names = re.findall(rf"\b{PREFIX}\w+", " ".join(FINAL.arguments("ENV")))
    assert set(names) == {"FPN_MODEL", "FPN_DEVICE"}
    assert {name.removeprefix(PREFIX).lower() for name in names} <= set(Settings.model_fields)


def test_onnxruntime_sends_nothing_from_an_image_whatever_loads_it() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in " ".join(FINAL.arguments("ENV")).split()


def test_the_label_has_the_version_of_the_project() -> None:
    labels = " ".join(FINAL.arguments("LABEL"))
    assert f'org.opencontainers.image.version="{PYPROJECT["version"]}"' in labels
    assert f'org.opencontainers.image.licenses="{PYPROJECT["license"]}"' in labels


def test_every_base_image_has_a_pinned_default() -> None:
    assert re.search(r":[\w.-]*\d", ARGUMENTS["BASE_IMAGE"])


def test_no_stage_names_torch_or_an_extra_that_brings_it() -> None:
    instructions = [text for stage in STAGES.values() for _, text in stage.instructions]
    assert not re.search(r"torch|\[[^]]*(train|export|dev)", " ".join(instructions))


def test_the_dockerfile_asks_for_nothing_that_only_buildkit_has() -> None:
    assert not re.search(r"#\s*syntax=|--mount|--link|--chmod|<<", TEXT)


def test_the_cuda_base_is_the_one_that_onnxruntime_gpu_was_built_against() -> None:
    (gpu,) = PYPROJECT["optional-dependencies"]["gpu"]
    runtime = re.search(r"~=(\d+\.\d+)\.", gpu)
    cuda = re.search(r"cuda:(\d+\.\d+)\.\d+-cudnn-runtime-", ARGUMENTS["BASE_IMAGE"])
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
    assert all(list(ROOT.glob(source)) for source in copied)


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
