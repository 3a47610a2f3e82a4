import pytest

from service.errors import InvalidSettings
from service.settings import (
    HEALTH_PLACES,
    OWN_DESCRIPTORS,
    Settings,
    backlog,
    describe_settings,
    load_settings,
    possible_connections,
    refuse_unknown,
)


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPN_PORT", "9001")
    monkeypatch.setenv("FPN_DEVICE", "cpu")
    monkeypatch.setenv("FPN_MAX_WAIT_S", "0.25")
    settings = load_settings()
    assert (settings.port, settings.device, settings.max_wait_s) == (9001, "cpu", 0.25)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FPN_PORT", "eighty"),
        ("FPN_PORT", "70000"),
        ("FPN_DEVICE", "tpu"),
        ("FPN_MAX_BATCH", "-1"),
        ("FPN_FULL_STATUS", "500"),
        ("FPN_RUNNERS", "two"),
        ("FPN_TIMEOUT_S", "-1"),
        ("FPN_TIMEOUT_S", "nan"),
        ("FPN_LOG_LEVEL", ""),
        ("FPN_MAX_CONNECTIONS", "0"),
        ("FPN_MAX_HEADER_BYTES", "100"),
        ("FPN_HEADER_TIMEOUT_S", "0"),
        ("FPN_KEEP_ALIVE_S", "-1"),
        ("FPN_LINGER_S", "inf"),
        ("FPN_MIN_UPLOAD_BYTES_PER_S", "1.5"),
        ("FPN_UPLOAD_PAUSE_S", "0"),
        ("FPN_ROOT_PATH", "detector"),
        ("FPN_ROOT_PATH", "/detector/"),
        ("FPN_FORWARDED_ALLOW_IPS", "localhost"),
        ("FPN_FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
    ],
)
def test_a_wrong_value_names_the_variable_what_was_expected_and_what_came(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    expected = Settings.model_fields[variable.removeprefix("FPN_").lower()].description
    assert caught.value.detail == f"{variable}: expected {expected}; got {value!r}"


def test_several_wrong_values_make_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPN_PORT", "x")
    monkeypatch.setenv("FPN_DEVICE", "y")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert "FPN_PORT" in caught.value.detail
    assert "FPN_DEVICE" in caught.value.detail
    assert "\n" not in caught.value.detail


def test_more_images_in_a_request_than_in_the_queue_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FPN_MAX_IMAGES", "9")
    monkeypatch.setenv("FPN_QUEUE_IMAGES", "8")
    with pytest.raises(InvalidSettings, match=r"FPN_MAX_IMAGES.*FPN_QUEUE_IMAGES \(8\).*got 9"):
        load_settings()


@pytest.mark.parametrize("variable", ["WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"])
def test_a_variable_of_another_server_that_would_not_do_what_it_says_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "4")
    with pytest.raises(InvalidSettings, match=f"{variable}: expected none.*got '4'"):
        load_settings()


def test_more_connections_than_descriptors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPN_MAX_CONNECTIONS", "1000000")
    with pytest.raises(
        InvalidSettings, match=r"FPN_MAX_CONNECTIONS: expected at most .*\(ulimit -n\)"
    ):
        load_settings()


@pytest.mark.parametrize("most", [128, 1024, 20_000, 2**40])
def test_all_connections_and_those_that_wait_have_a_descriptor(most: int) -> None:
    connections = possible_connections(most)
    assert 0 < connections <= 2048
    assert connections + backlog(most) + HEALTH_PLACES + OWN_DESCRIPTORS <= most


def test_too_few_descriptors_leave_no_connection() -> None:
    assert possible_connections(64) == 0


def test_addresses_networks_and_all_are_taken_for_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxies in ("", "*", "10.0.0.0/8, ::1"):
        monkeypatch.setenv("FPN_FORWARDED_ALLOW_IPS", proxies)
        assert load_settings().forwarded_allow_ips == proxies


def test_a_typing_error_in_a_name_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(InvalidSettings, match=r"FPN_MAX_BACTH.*did you mean FPN_MAX_BATCH\?"):
        refuse_unknown(["PATH", "FPN_MAX_BACTH"])


def test_a_name_that_is_like_no_other_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(InvalidSettings, match="known are FPN_.*, FPN_HOST, "):
        refuse_unknown(["FPN_QQQQQQ"])


def test_variables_of_others_are_left_alone() -> None:
    refuse_unknown(["PATH", "FPNX", "MY_FPN_PORT"])


def test_every_setting_is_described_with_its_default() -> None:
    text = describe_settings()
    assert all(f"FPN_{name.upper()} " in text for name in Settings.model_fields)
    assert "[8000]" in text
