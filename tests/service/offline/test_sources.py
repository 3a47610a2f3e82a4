"""What is named on the command line, and the photographs that it stands for."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from service.offline import sources
from service.offline.sources import files_of, sources_of
from service.offline.video import frames_of
from service.pictures.decoding import decode_image


def video(path: Path, frames: int = 6) -> Path:
    """A video of plain frames, each brighter than the one before."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            pixels = np.full((48, 64, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def touched(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_a_folder_is_all_photographs_below_it_in_order(tmp_path: Path) -> None:
    touched(tmp_path, "b.JPG", "a/c.png", "notes.txt", ".hidden.jpg", ".git/x.png", "d.webp")
    found = [source.place for source in sources_of(files_of([str(tmp_path)]))]
    assert found == ["a/c.png", "b.JPG", "d.webp"]


def test_a_pattern_goes_down_folders_and_one_that_fits_nothing_is_a_missing_file(
    tmp_path: Path,
) -> None:
    touched(tmp_path, "b.jpg", "a/c.jpg")
    found = sources_of(files_of([f"{tmp_path}/**/*.jpg", f"{tmp_path}/*.gif"]))
    first, second, none = found
    assert [first.place, second.place] == ["c.jpg", "b.jpg"]
    with pytest.raises(FileNotFoundError):
        none.load()


def test_a_file_whose_name_looks_like_a_pattern_is_the_file(tmp_path: Path) -> None:
    touched(tmp_path, "a[1].jpg", "a1.jpg")
    (found,) = sources_of(files_of([f"{tmp_path}/a[1].jpg"]))
    assert found.place == "a[1].jpg"


def test_every_second_frame_of_a_video_is_a_photograph_of_its_own(tmp_path: Path) -> None:
    path = video(tmp_path / "plain.mp4")
    found = list(sources_of(files_of([str(tmp_path)]), every=2))
    assert [source.name for source in found] == [f"{path}#{number}" for number in (0, 2, 4)]
    assert [source.place for source in found] == [f"plain.mp4/{n:06}" for n in (0, 2, 4)]
    images = [decode_image(source.load(), 10_000) for source in found]
    assert [image.size for image in images] == [(64, 48)] * 3
    assert [np.asarray(image).mean() for image in images] == pytest.approx([0, 80, 160], abs=4)


def test_frames_of_a_phone_that_was_held_upright_are_turned(tmp_path: Path) -> None:
    path = tmp_path / "plain.mp4"
    video(path)
    turned = tmp_path / "turned.mp4"
    _with_display_matrix(path, turned)
    (first, *_) = frames_of(turned, every=1)
    assert decode_image(first.jpeg, 10_000).size == (48, 64)


def test_a_video_that_is_none_is_one_bad_source(tmp_path: Path) -> None:
    touched(tmp_path, "broken.mp4")
    (found,) = sources_of(files_of([str(tmp_path / "broken.mp4")]))
    with pytest.raises(ValueError, match="the video cannot be read: "):
        found.load()


def test_without_pyav_a_video_is_one_bad_source_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HAS_VIDEO", False)
    path = video(tmp_path / "plain.mp4")
    assert list(sources_of(files_of([str(tmp_path)]))) == []
    (named,) = sources_of(files_of([str(path)]))
    with pytest.raises(ValueError, match="pip install av"):
        named.load()


def _with_display_matrix(path: Path, turned: Path) -> None:
    """The same file, whose track header says that it is to be turned by 90 degrees."""
    content = path.read_bytes()
    one = (1 << 16).to_bytes(4, "big")
    last, none, minus = (1 << 30).to_bytes(4, "big"), bytes(4), (0xFFFF0000).to_bytes(4, "big")
    upright = b"".join((one, none, none, none, one, none, none, none, last))
    sideways = b"".join((none, one, none, minus, none, none, none, none, last))
    head, track = content.split(b"tkhd", 1)
    assert upright in track
    turned.write_bytes(head + b"tkhd" + track.replace(upright, sideways, 1))
