import base64
from pathlib import Path

from model.evaluation.html_page import write_html
from model.evaluation.tables import markdown_table


def test_a_page_holds_its_tables_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"pixels")
    table = markdown_table("class", {"a|b <i>": {"AP": "12.5"}})
    parts = ["# Run & report", "some words", "## Classes", table, "![curve](a.png)"]
    (tmp_path / "report.md").write_text("\n\n".join(parts) + "\n")
    page = write_html(tmp_path / "report.md").read_text()
    assert "<title>Run &amp; report</title>" in page
    assert "<h2>Classes</h2>" in page
    assert "<td>a|b &lt;i&gt;</td><td>12.5</td>" in page
    assert base64.b64encode(b"pixels").decode() in page
