"""A model card says what the files say."""

from pathlib import Path

import pytest

from export.card import PARTS, CardError, Described, main, model_card


def test_a_card_is_prose_with_what_the_file_says_in_its_places(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = tmp_path / "card.md"
    template.write_text(
        "# small\n\nProse with [[facts]] in it.\n\n[[facts]]\n\n[[limits]]\n\nEnd.\n"
    )
    assert main([str(template), str(artifact)]) == 0
    card = capsys.readouterr().out
    assert card.startswith("# small\n\nProse with [[facts]] in it.\n\n|")
    assert card.endswith("\n\nEnd.\n")
    assert "| classes | cat, dog, bird |" in card
    assert "| licence | Apache-2.0 |" in card
    assert "at most 30 an image, of class score 0.05 and above" in card


def test_classes_have_their_figures_and_thresholds_those_with_most_boxes_first(
    artifact: Path,
) -> None:
    model = Described.read(artifact)
    point = {"score": 0.8401, "precision": 0.5, "recall": 0.25}
    model.manifest["accuracy"] = {"AP": 0.2, "AP/dog": 0.31, "boxes/dog": 7, "boxes/cat": 2}
    model.manifest["thresholds"] = {"every": point, "classes": [None, point, None]}
    lines = model_card("[[classes]]", [model]).splitlines()
    assert lines[0] == "| class | boxes | AP | threshold | precision | recall |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "dog",
        "cat",
        "bird",
        "all together",
    ]
    assert lines[2] == "| dog | 7 | 31.0 | 0.840 | 50.0 | 25.0 |"


@pytest.mark.parametrize("part", sorted(PARTS.keys() - {"accuracy"}))
def test_a_file_of_which_little_is_known_has_a_card_all_the_same(artifact: Path, part: str) -> None:
    assert model_card(f"[[{part}]]", [Described.read(artifact)]).startswith("|")


def test_figures_that_nobody_measured_are_refused(artifact: Path) -> None:
    model = Described.read(artifact)
    model.manifest["accuracy"] = {}
    with pytest.raises(CardError, match="nobody measured its accuracy"):
        model_card("[[accuracy]]", [model])


def test_a_place_for_something_else_is_refused(artifact: Path) -> None:
    with pytest.raises(CardError, match=r"asks for \[\[price\]\]: expected one of \['facts'"):
        model_card("[[price]]", [Described.read(artifact)])


def test_a_file_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(CardError, match=r"model\.onnx: expected a file of fpn-export"):
        Described.read(tmp_path / "model.onnx")
