from model.config.resize import ResizeRule
from model.evaluation.feeding import Loading
from model.evaluation.inference import Finding, findings
from model.network.detector import Detections
from tests.model.colours import ColourDetector
from tests.model.conftest import CocoFolder


def by_name(folder: CocoFolder, resize: ResizeRule) -> dict[str, Finding[Detections]]:
    found = list(findings(ColourDetector(), folder.read(), resize, Loading(batch_size=2)))
    assert len(found) == 7
    return {finding.record.path.name: finding for finding in found}


def test_each_image_is_found_once_with_its_own_detections(coloured: CocoFolder) -> None:
    found = by_name(coloured, ResizeRule(short_side=128, max_side=224))
    counts = {name: int(finding.found.counts) for name, finding in found.items()}
    expected = {"wide": 2, "tall": 1, "square": 1, "empty": 0, "long": 1, "thread": 1, "wide2": 2}
    assert counts == {f"{name}.png": count for name, count in expected.items()}


def test_boxes_are_in_pixels_of_a_frame_that_holds_the_image_by_the_given_rule(
    coloured: CocoFolder,
) -> None:
    wide = by_name(coloured, ResizeRule(short_side=64, max_side=112))["wide.png"]
    assert wide.content == (64, 96)
    red = wide.found.boxes[0].tolist()  # x 20..140 and y 40..240 of 256 x 384, a quarter of it
    assert red == [5, 10, 35, 60]
