"""`python -m tests.service.http.page.screenshot docs/page.webp`: the page in Chromium, as the documents show it."""

import io
import sys

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.service.http.page.test_in_chromium import CAT, CHROMIUM, COLLAGE, MODEL, set_range, take
from tests.service.process import serving


def main() -> None:
    """Writes the picture, of a cat with its detection chosen and the best proposals of P5."""
    with (
        serving(FPN_MODEL=str(MODEL), FPN_DEVICE="cpu") as server,
        sync_playwright() as playwright,
    ):
        server.line_with("event=ready")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 860}, color_scheme="light")
        page.goto(f"http://127.0.0.1:{server.port()}/")
        take(page, COLLAGE, CAT)
        page.get_by_label("P5").check()
        set_range(page, "most", 6)
        page.locator("#detections button").first.click()
        shot = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    shot.save(sys.argv[1], quality=80, method=6)


if __name__ == "__main__":
    main()
