"""The page in a real browser, in front of a real server with the model that ships.

Needs Chromium (Debian: `apt-get install chromium`), and is skipped where there is none.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

from service.keys import new_key
from tests.places import ROOT
from tests.service.images import png
from tests.service.process import serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

MODEL = ROOT / "deploy" / "models" / "default" / "model.onnx"
CAT = ROOT / "docs" / "cat.jpg"
COLLAGE = ROOT / "deploy" / "models" / "default" / "golden" / "collage.jpg"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server behind a prefix, so that no address of the page may be absolute."""
    settings = {"FPN_RUNNERS": "1", "FPN_MAX_BATCH": "1", "FPN_ROOT_PATH": "/vision"}
    with serving(FPN_MODEL=str(MODEL), FPN_DEVICE="cpu", **settings) as server:
        server.line_with("event=ready")
        yield f"http://127.0.0.1:{server.port()}/vision/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # A container has no user namespaces for the browser's own sandbox.
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(params=[WIDE, PHONE], ids=["wide", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    """The page, open; whatever it says on the console, also of its policy, is a failure."""
    context = browser.new_context(viewport=request.param, color_scheme="light")
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert said == []


def take(page: Page, *photographs: Path) -> None:
    """Chooses the photographs and waits until each has been answered."""
    page.set_input_files("#files", list(photographs))
    for photograph in photographs:
        page.get_by_role("button", name=photograph.name, exact=True).click()
        page.wait_for_selector("#times dt")


def labels(page: Page) -> list[str]:
    return page.locator("#detections .name").all_inner_texts()


def shown_json(page: Page) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(page.locator("#json").input_value())
    return shown


def set_range(page: Page, name: str, value: float) -> None:
    page.locator(f"#{name}").fill(str(value))


def pixels(page: Page) -> str:
    """What the canvas shows."""
    drawn: str = page.evaluate("document.getElementById('canvas').toDataURL()")
    return drawn


def test_a_photograph_is_answered_and_drawn_with_its_class_and_times(page: Page) -> None:
    take(page, CAT)
    assert labels(page) == ["cat"]
    assert "1 detection, cat" in (page.locator("#canvas").get_attribute("aria-label") or "")
    stages = page.locator("#times dt").all_inner_texts()
    assert stages[:4] == ["decode", "queue", "inference", "total"]
    assert "images in the batch" in stages


def test_nothing_stands_out_of_the_window(page: Page) -> None:
    take(page, CAT, COLLAGE)
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0


def test_the_threshold_chooses_without_another_request(page: Page) -> None:
    take(page, COLLAGE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    set_range(page, "threshold", 0.06)
    many, drawn = len(labels(page)), pixels(page)
    set_range(page, "threshold", 0.99)
    assert len(labels(page)) < many
    assert pixels(page) != drawn
    assert asked == []


def test_a_class_can_be_turned_off_and_on(page: Page) -> None:
    take(page, CAT)
    box = page.locator("#classes label", has_text="cat").get_by_role("checkbox")
    box.uncheck()
    assert labels(page) == []
    assert shown_json(page)["images"][0]["detections"] == []
    box.check()
    assert labels(page) == ["cat"]


def test_the_proposals_of_a_level_are_drawn_and_told(page: Page) -> None:
    take(page, CAT)
    before = pixels(page)
    page.locator("#levels label", has_text="P5").get_by_role("checkbox").check()
    set_range(page, "most", 3)
    assert pixels(page) != before
    proposals = shown_json(page)["images"][0]["proposals"]
    assert list(proposals) == ["P5"]
    assert len(proposals["P5"]) == 3


def test_a_chosen_detection_shows_the_proposal_behind_it(page: Page) -> None:
    take(page, CAT)
    before = pixels(page)
    place = shown_json(page)["images"][0]["detections"][0]["proposal"]
    button = page.locator("#detections button")
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert pixels(page) != before
    said = f"proposal {place['index']} of {place['level']}, which held an object"
    assert said in page.locator("#caption").inner_text()
    page.keyboard.press("Escape")
    assert pixels(page) == before


def test_a_click_into_a_box_chooses_its_detection(page: Page) -> None:
    take(page, CAT)
    page.locator("#canvas").click()
    assert page.locator("#detections button").get_attribute("aria-pressed") == "true"


def test_several_photographs_are_answered_in_a_row_and_kept(page: Page) -> None:
    take(page, CAT, COLLAGE)
    page.locator("#previous").click()
    assert labels(page) == ["cat"]
    assert page.locator("#next").is_enabled()
    current = page.locator("#photographs [aria-current=true]")
    assert current.all_inner_texts() == ["cat.jpg"]


def test_a_file_that_is_no_image_says_why_and_disturbs_no_other(
    browser: Browser, address: str
) -> None:
    # The browser itself notes a refused request on its console, so this is no use of `page`.
    with browser.new_page() as page:
        page.goto(address)
        junk: FilePayload = {"name": "junk.png", "mimeType": "image/png", "buffer": b"junk"}
        page.set_input_files("#files", [junk])
        page.wait_for_selector("#status.problem")
        assert "junk.png: " in page.locator("#status").inner_text()
        take(page, CAT)
        assert labels(page) == ["cat"]


def test_a_name_of_a_file_is_text_and_nothing_else(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    photograph: FilePayload = {"name": name, "mimeType": "image/png", "buffer": png(40, 50)}
    page.set_input_files("#files", [photograph])
    page.wait_for_selector("#times dt")
    assert page.locator("#photographs button").all_inner_texts() == [name]
    assert page.locator("img").count() == 0


def test_a_photograph_can_be_pasted_and_dropped(page: Page) -> None:
    for event, field in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.evaluate(
            """async ([event, field]) => {
                const canvas = Object.assign(document.createElement("canvas"), {width: 50, height: 40});
                const blob = await new Promise((done) => canvas.toBlob(done));
                const carried = new DataTransfer();
                carried.items.add(new File([blob], `${event}.png`, {type: "image/png"}));
                document.body.dispatchEvent(
                    event === "paste"
                        ? new ClipboardEvent(event, {[field]: carried, bubbles: true})
                        : new DragEvent(event, {[field]: carried, bubbles: true, cancelable: true})
                );
            }""",
            [event, field],
        )
        page.get_by_role("button", name=f"{event}.png", exact=True).click()
        page.wait_for_selector("#times dt")
    assert page.locator("#photographs button").all_inner_texts() == ["paste.png", "drop.png"]


def test_the_picture_is_saved_in_the_photographs_own_size(page: Page, tmp_path: Path) -> None:
    take(page, CAT)
    with page.expect_download() as waiting:
        page.locator("#save").click()
    assert waiting.value.suggested_filename == "cat-detections.png"
    waiting.value.save_as(tmp_path / "saved.png")
    header = (tmp_path / "saved.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4]), int.from_bytes(header[4:])) == (451, 300)


def test_the_json_is_copied_as_it_is_shown(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    take(page, CAT)
    page.locator("#copy").click()
    page.get_by_text("JSON copied", exact=True).wait_for()
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied == shown_json(page)
    assert copied["images"][0]["detections"][0]["label"] == "cat"


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(page: Page) -> None:
    take(page, CAT)
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, textarea, a")].filter((each) =>
            !(each.textContent.trim() || each.labels?.length || each.ariaLabel)).map((each) => each.id)"""
    )
    assert unnamed == []
    page.locator("#files").focus()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert {"threshold", "most", "save", "copy", "button", "checkbox"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_colour_schemes(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    take(page, CAT)
    ink, paper, quiet, panel, accent = (
        page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')")
        for name in ("ink", "paper", "quiet", "panel", "accent")
    )
    # 4.5 is what WCAG 2 asks for of text.
    for front, back in (
        (ink, paper),
        (quiet, paper),
        (accent, paper),
        (ink, panel),
        (quiet, panel),
    ):
        assert contrast(front, back) >= 4.5


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours #rrggbb, as WCAG 2 defines it."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_description_of_the_interface_is_a_link_away(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("link", name="Interface").click()
    page.get_by_text("Detect objects in one or more images").wait_for()


def test_the_page_is_there_before_the_model_is(browser: Browser, address: str) -> None:
    with browser.new_page() as page:
        page.route("**/model", lambda route: route.abort())
        page.goto(address)
        assert page.locator("h1").is_visible()
        page.wait_for_selector("#status.problem")
        assert httpx.get(f"{address}livez").status_code == 200


def test_the_page_of_a_server_with_keys_asks_its_visitor_for_one(
    browser: Browser, tiny_path: Path, tmp_path: Path
) -> None:
    secret, entry = new_key("visitor")
    (tmp_path / "keys.toml").write_text(entry)
    settings = {"FPN_KEYS": str(tmp_path / "keys.toml"), "FPN_PAGE": "key"}
    with serving(FPN_MODEL=str(tiny_path), FPN_DEVICE="cpu", **settings) as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}/"
        context = browser.new_context(http_credentials={"username": "me", "password": secret})
        page = context.new_page()
        page.goto(url)
        take(page, CAT)
        context.close()
        assert any("path=/detect code=200" in line and "key=visitor" in line for line in server.log)
