import json
from pathlib import Path
from typing import Any

import pytest

from model.config.detector import DetectorConfig
from model.config.files import ConfigError, from_mapping, load_config, to_mapping
from model.config.training import TrainConfig
from tests.model.config.shipped import DATA, RUN, SHIPPED

TOML = """
name = "a run"
[data]
root = "photos"
train_annotations = "train.json"
train_images = "images"
[schedule]
steps = 20
warmup_steps = 3
decay_steps = [10, 15]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_shipped_configuration_loads(path: Path) -> None:
    assert load_config(path).name


def test_plain_values_give_the_configuration_back_through_json() -> None:
    values = RUN | {"model": {"resize": {"short_side": 96, "max_side": 160}}, "seed": 4}
    config = from_mapping(TrainConfig, values, "test")
    again = from_mapping(TrainConfig, json.loads(json.dumps(to_mapping(config))), "test")
    assert again == config


def test_a_file_of_toml_and_of_json_say_the_same(file: Path) -> None:
    config = load_config(file)
    other = file.with_suffix(".json")
    other.write_text(json.dumps(to_mapping(config)))
    assert load_config(other) == config
    assert config.schedule.decay_steps == (10, 15)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"sede": 1}, "sede"),
        ({"schedule": {"stepz": 1}}, "schedule.stepz"),
        ({"model": {"rpn": {"nms": {"iou": 0.7}}}}, "model.rpn.nms"),
    ],
)
def test_an_unknown_key_is_refused_by_its_dotted_name(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"^here: unknown key {key}$"):
        from_mapping(TrainConfig, RUN | values, "here")


@pytest.mark.parametrize(
    ("values", "key", "got"),
    [
        ({"seed": True}, "seed", "True"),
        ({"seed": -1}, "seed", "-1"),
        ({"data": DATA | {"flip": 1}}, "data.flip", "1"),
        ({"schedule": {"steps": "200"}}, "schedule.steps", "'200'"),
        ({"schedule": {"steps": 0}}, "schedule.steps", "0"),
        ({"schedule": {"learning_rate": float("inf")}}, "schedule.learning_rate", "inf"),
        ({"schedule": 5}, "schedule", "5"),
        ({"model": {"backbone": {"name": "vgg16"}}}, "model.backbone", "{'name': 'vgg16'}"),
        ({"model": {"anchors": {"sizes": [8, 16, 0, 64, 128]}}}, "model.anchors.sizes.2", "0"),
        ({"model": {"anchors": {"ratios": []}}}, "model.anchors.ratios", r"\[\]"),
        ({"precision": "bfloat16"}, "precision", "'bfloat16'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_what_came(
    values: dict[str, Any], key: str, got: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^here: {key}: [^\n]*, got {got}$"):
        from_mapping(TrainConfig, RUN | values, "here")


def test_a_missing_key_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="data: "):
        from_mapping(TrainConfig, {"name": "a run"}, "here")


def test_all_faults_are_told_in_one_line() -> None:
    with pytest.raises(ConfigError, match="seed: .*; here: unknown key x") as caught:
        from_mapping(TrainConfig, RUN | {"x": 1, "seed": "a"}, "here")
    assert "\n" not in str(caught.value)


def test_an_override_wins_over_the_file(file: Path) -> None:
    overrides = ("schedule.steps=7", "schedule.decay_steps=[3, 5]", "data.root=other photos")
    config = load_config(file, (*overrides, "model.pyramid.channels = 8"))
    assert (config.schedule.steps, config.schedule.decay_steps) == (7, (3, 5))
    assert config.data.root == Path("other photos")
    assert config.model == DetectorConfig(pyramid=config.model.pyramid)
    assert config.model.pyramid.channels == 8


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("schedule.steps", "expected KEY=VALUE"),
        ("schedule.steps.x=1", "steps is a value, not a table"),
        ("schedule.stepz=1", "unknown key schedule.stepz"),
        ("schedule.steps=many", "schedule.steps: .* got 'many'"),
    ],
)
def test_an_override_that_cannot_be_applied_is_refused(
    file: Path, override: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_config(file, (override,))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("run.toml", b"steps = = 1", "not valid TOML"),
        ("run.json", b"{", "not valid JSON"),
        ("run.toml", b"name = 'Z\xe4hlung'", "expected text in UTF-8, got the byte 0xe4 at 9"),
        ("run.yaml", b"name: a run", "expected a file of TOML or JSON, by its name"),
        (
            "coco.json",
            b'{"images": [], "annotations": [], "categories": []}',
            ".*COCO's annotations",
        ),
        ("run.json", b"[1]", "expected a table of settings, got list"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_refused(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name}: {reason}"):
        load_config(tmp_path / name, ("seed=1",))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_of_another_systems_editor_is_read(file: Path, encoding: str) -> None:
    config = load_config(file)
    file.write_bytes(TOML.replace("\n", "\r\n").encode(encoding))
    assert load_config(file) == config


def test_relative_paths_start_from_the_file_that_says_them(tmp_path: Path) -> None:
    below, other = tmp_path / "base", tmp_path / "mine"
    below.mkdir()
    other.mkdir()
    (below / "base.toml").write_text(TOML + '[model.backbone]\nweights = "imagenet.pth"\n')
    (other / "run.toml").write_text('base = "../base/base.toml"\ninit = "model.pt"\n')
    config = load_config(other / "run.toml")
    assert config.data.root.resolve() == below / "photos"
    assert Path(config.model.backbone.weights).resolve() == below / "imagenet.pth"
    assert config.init == other / "model.pt"
    assert config.data.train_images == Path("images")  # from the root
    assert load_config(below / "base.toml", ("model.backbone.weights=none",)).init is None


def test_a_message_shows_the_beginning_of_a_long_value_and_of_many_faults() -> None:
    values = RUN | {f"key {i}": list(range(9000)) for i in range(40)} | {"seed": "x" * 9000}
    with pytest.raises(ConfigError, match=r"and 31 more$") as caught:
        from_mapping(TrainConfig, values, "here")
    assert len(str(caught.value)) < 1000


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: .*No such file"):
        load_config(tmp_path / "absent.toml")


def test_a_file_wins_over_its_base_key_by_key(file: Path) -> None:
    middle, top = file.parent / "middle.toml", file.parent / "deep" / "top.toml"
    middle.write_text('base = "run.toml"\n[schedule]\ndecay_steps = [5]\n')
    top.parent.mkdir()
    top.write_text('base = "../middle.toml"\nname = "other"\n[data]\nflip = false\n')
    config, plain = load_config(top), load_config(file)
    assert (config.name, config.data.flip) == ("other", False)
    assert config.schedule.decay_steps == (5,)
    assert config.schedule.steps == plain.schedule.steps
    assert config.data.root == plain.data.root


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ('"run.toml"', "leads back"),
        ("3", "path of a file"),
        ('"gone.toml"', "gone.toml: cannot be read"),
    ],
)
def test_a_base_that_cannot_be_is_refused(file: Path, base: str, message: str) -> None:
    file.write_text(f"base = {base}\n{TOML}")
    with pytest.raises(ConfigError, match=message):
        load_config(file)
