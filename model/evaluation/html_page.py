"""A page of Markdown as one HTML file that needs no other: its pictures are in it.

Of Markdown it knows what our reports are made of: headings, paragraphs, tables and pictures, each between blank lines.
"""

import base64
import html
import re
from pathlib import Path

_PICTURE = re.compile(r"^!\[(?P<text>[^\]]*)\]\((?P<name>[^)]+)\)$")
_KINDS = {".png": "png", ".jpg": "jpeg"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}"
)


def write_html(page: Path) -> Path:
    """Writes the Markdown file `page` as HTML beside it, and returns its path."""
    parts = page.read_text(encoding="utf-8").strip().split("\n\n")
    title = html.escape(parts[0].lstrip("# "))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    body = "\n".join(_element(part, page.parent) for part in parts)
    out = page.with_suffix(".html")
    out.write_text(
        f"<!doctype html>\n<html><head>{head}</head>\n<body>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )
    return out


def _element(part: str, folder: Path) -> str:
    if part.startswith("#"):
        text = part.lstrip("#")
        level = len(part) - len(text)
        return f"<h{level}>{html.escape(text.strip())}</h{level}>"
    if found := _PICTURE.match(part):
        content = (folder / found["name"]).read_bytes()
        kind = _KINDS[Path(found["name"]).suffix]
        data = base64.b64encode(content).decode("ascii")
        return f'<img alt="{html.escape(found["text"])}" src="data:image/{kind};base64,{data}">'
    if part.startswith("|"):
        return _table(part)
    return f"<p>{html.escape(part)}</p>"


def _table(part: str) -> str:
    head, _, *rows = (
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in part.splitlines()
    )
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return "<table>" + "".join(lines) + "</table>"


def _row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
