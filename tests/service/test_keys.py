"""Keys: which are known, what is left of their quotas, and how their file is read again."""

import os
from pathlib import Path

import pytest

from service.errors import InvalidSettings, Overloaded, QuotaExceeded, TooLarge, Unauthorized
from service.keys import Bucket, Entry, Key, Keys, new_key

SECRET, ENTRY = new_key("camera")
OTHER, OTHER_ENTRY = new_key("labeller")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def written(path: Path, *entries: str) -> Path:
    """The file, of another time than before, however fast the test is."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text("\n".join(entries))
    os.utime(path, ns=(before + 10**9, before + 10**9))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "keys.toml", ENTRY, OTHER_ENTRY)


def test_each_key_is_found_by_its_secret_and_nothing_else(path: Path) -> None:
    keys = Keys(path)
    assert (keys.find(SECRET).name, keys.find(OTHER).name) == ("camera", "labeller")
    for wrong in (None, "", SECRET[:-1], SECRET + "x", SECRET.swapcase(), "é"):
        with pytest.raises(Unauthorized):
            keys.find(wrong)


def test_the_file_holds_no_secret_and_two_keys_share_nothing(path: Path) -> None:
    assert SECRET not in path.read_text()
    assert len(SECRET) >= 43  # 256 bits in base64
    assert SECRET != OTHER


def test_a_changed_file_is_read_again_and_what_is_left_of_a_quota_stays(path: Path) -> None:
    keys = Keys(path)
    before = keys.find(OTHER)
    written(path, OTHER_ENTRY)
    keys.look()
    assert keys.names == ["labeller"]
    assert keys.find(OTHER) is before
    with pytest.raises(Unauthorized):
        keys.find(SECRET)
    written(path, OTHER_ENTRY + "images_per_minute = 5")
    keys.look()
    assert keys.find(OTHER) is not before


def test_a_file_that_is_turned_to_another_is_read_again(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    keys = Keys(link)
    other = written(tmp_path / "other.toml", OTHER_ENTRY)
    (tmp_path / "turned").symlink_to(other)
    (tmp_path / "turned").replace(link)
    keys.look()
    assert keys.names == ["labeller"]


@pytest.mark.parametrize("content", ["[camera", "[a]\nsha256 = 'short'", None])
def test_a_file_that_cannot_be_used_changes_nothing(path: Path, content: str | None) -> None:
    keys = Keys(path)
    if content is None:
        path.unlink()
    else:
        written(path, content)
    keys.look()
    assert keys.find(SECRET).name == "camera"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[camera", "Expected ']'"),
        (f'[camera]\nsha256 = "{SECRET}"', "camera.sha256: String should match pattern"),
        (ENTRY + "images_per_minute = 0", "camera.images_per_minute: Input should be greater"),
        (ENTRY + "imgs = 5", "camera.imgs: Extra inputs"),
        (ENTRY.replace("camera", '"a b"'), "a b.[key]: String should match"),
    ],
    # The keys are other ones in each of the processes that share the tests out.
    ids=["no TOML", "the key itself", "no images", "an unknown entry", "a name with a space"],
)
def test_a_file_that_cannot_be_used_is_named_without_what_is_secret(
    tmp_path: Path, content: str, said: str
) -> None:
    path = written(tmp_path / "keys.toml", content)
    with pytest.raises(InvalidSettings) as caught:
        Keys(path)
    assert caught.value.detail.startswith(f"FPN_KEYS: {path}: {said}")
    assert SECRET not in caught.value.detail


def test_a_bucket_holds_a_minute_and_fills_evenly() -> None:
    clock = Clock()
    bucket = Bucket(60, "images", clock)
    assert bucket.wait_s(60) == 0
    bucket.take(60)
    assert bucket.wait_s(1) == pytest.approx(1)
    assert bucket.wait_s(30) == pytest.approx(30)
    clock.now += 30
    assert bucket.wait_s(30) == 0
    clock.now += 1000
    bucket.take(0)
    assert bucket.wait_s(60) == 0
    with pytest.raises(TooLarge, match="may ask for 60 images a minute, and these are 61"):
        bucket.wait_s(61)


def test_what_the_server_has_no_room_for_is_given_back() -> None:
    key = Key("camera", Entry(sha256="0" * 64, images_per_minute=3, pixels_per_minute=1000))
    with pytest.raises(Overloaded), key.spending(2, 900):
        raise Overloaded("full")
    with key.spending(2, 900):
        pass
    with pytest.raises(QuotaExceeded, match="pixels") as refused, key.spending(1, 800):
        pass
    assert refused.value.retry_after_s == pytest.approx(42, abs=1)
    with key.spending(1, 0):
        pass
    with pytest.raises(QuotaExceeded, match="images"):
        key.look()


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a.b"])
def test_a_name_that_the_file_cannot_have_gets_no_key(name: str) -> None:
    with pytest.raises(InvalidSettings, match="--new-key: expected letters"):
        new_key(name)
