"""The skeleton of every HTML page: one self-contained file, light and dark, readable without a network.

What comes from data goes through `text` (escaped) before it is put into a page.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#15181e;--soft:#5b6472;--line:#dfe3e9;--accent:#0067a8;
--wash:#eef3f8;--good:#00795a;--bad:#b34a00;--warn-bg:#fff4e0;--warn-line:#e0a030;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#a4568c;--c4:#b07d00;--c5:#5b6472}
@media(prefers-color-scheme:dark){:root{
--bg:#0f1216;--card:#181c22;--ink:#e8ebf0;--soft:#9aa4b2;--line:#2b313a;
--accent:#6cb8ee;--wash:#1f262f;--good:#35c79b;--bad:#ff9a57;--warn-bg:#33270f;--warn-line:#a87a24;
--c0:#56b4e9;--c1:#f08a3c;--c2:#35c79b;--c3:#d79bc2;--c4:#e6b93f;--c5:#9aa4b2}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1160px;margin:0 auto;padding:40px 24px 64px}
header{margin-bottom:28px}
.kind{color:var(--accent);font-weight:600;font-size:13px;letter-spacing:.08em;text-transform:uppercase;margin:0}
h1{font-size:34px;line-height:1.2;margin:4px 0 6px;letter-spacing:-.02em;overflow-wrap:anywhere}
.lead{color:var(--soft);margin:0;font-size:17px;overflow-wrap:anywhere}
h2{font-size:20px;margin:0 0 4px;letter-spacing:-.01em}
.note{color:var(--soft);margin:0 0 14px;font-size:14px;max-width:75ch}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:22px 24px;margin:18px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:16px 18px}
.tile b{display:block;font-size:30px;line-height:1.15;font-weight:650;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.tile span{display:block;font-size:14.5px;font-weight:600}
.tile i{display:block;font-style:normal;color:var(--soft);font-size:12.5px;line-height:1.4;
font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:26px}
.charts.rows{grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));margin-top:18px}
figure{margin:0;min-width:0}figcaption{color:var(--soft);font-size:13.5px;margin-top:6px}
figcaption b{color:var(--ink);font-weight:600}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:18px}
.gallery.wide{grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr))}
video,img{max-width:100%;height:auto;display:block;border-radius:10px;background:#0c0e12}
video{width:100%}.full{width:100%}.pixels{image-rendering:pixelated;width:100%}
.scroll{overflow-x:auto;margin:0 -8px;padding:0 8px}
.tall{max-height:560px;overflow:auto}
table{border-collapse:collapse;width:100%;font-size:14.5px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:7px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:22ch}
th{font-weight:600;color:var(--soft);font-size:13px;background:var(--card)}
.tall th{position:sticky;top:0;z-index:1}
td.number,th.number{text-align:right}
tbody tr:hover{background:var(--wash)}tr.control td:first-child{color:var(--soft)}
th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer}
th button::after{content:"\\2195";opacity:.45;margin-left:5px;font-size:11px}
th[aria-sort=ascending] button::after{content:"\\2191";opacity:1}
th[aria-sort=descending] button::after{content:"\\2193";opacity:1}
th button:focus-visible,a:focus-visible,input:focus-visible,summary:focus-visible{
outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
.small{color:var(--soft);font-size:12.5px}
.badge{display:inline-block;border-radius:99px;padding:1px 9px;font-size:12.5px;font-weight:600;
background:var(--wash);color:var(--soft)}
.badge.good{color:var(--good)}.badge.bad{color:var(--bad)}
.warning{background:var(--warn-bg);border:1px solid var(--warn-line);border-radius:12px;padding:12px 18px;
margin:14px 0;overflow-wrap:anywhere}
.warning ul{margin:6px 0 0;padding-left:20px}
code,pre{font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--wash);border-radius:10px;padding:12px 16px;overflow-x:auto;margin:8px 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:0;font-size:14.5px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
details summary{cursor:pointer;font-weight:600}details[open] summary{margin-bottom:10px}
input[type=search]{font:inherit;font-size:14.5px;padding:6px 12px;
border:1px solid var(--line);border-radius:8px;background:var(--bg);color:var(--ink);
width:min(100%,280px);margin-bottom:12px}
a{color:var(--accent)}
svg{display:block;width:100%;max-width:520px;height:auto;overflow:visible;font:12px system-ui,sans-serif}
svg text{fill:var(--soft)}svg .ink{fill:var(--ink)}svg .axis{stroke:var(--line);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13.5px;margin:0 0 14px;padding:0;list-style:none}
.legend svg{display:inline-block;width:26px;height:10px;margin-right:6px;vertical-align:middle}
footer{color:var(--soft);font-size:13px;margin-top:28px}
@media(max-width:620px){main{padding:24px 14px 48px}section{padding:16px}h1{font-size:26px}
dl{grid-template-columns:1fr}dd{margin-bottom:6px}}
@media print{body{background:#fff}.tall{max-height:none}}
"""

SCRIPT = """
document.querySelectorAll("table.sortable").forEach(function(table){
  var body=table.tBodies[0];
  table.querySelectorAll("th button").forEach(function(button){
    button.addEventListener("click",function(){
      var head=button.closest("th"),column=head.cellIndex,up=head.getAttribute("aria-sort")!=="ascending";
      table.querySelectorAll("th").forEach(function(other){other.removeAttribute("aria-sort")});
      head.setAttribute("aria-sort",up?"ascending":"descending");
      var rows=Array.from(body.rows);
      rows.sort(function(a,b){
        var x=a.cells[column].dataset.key,y=b.cells[column].dataset.key;
        var empty=(x==="")-(y==="");if(empty)return empty;
        var order=isNaN(x)||isNaN(y)?x.localeCompare(y,undefined,{numeric:true}):x-y;
        return up?order:-order});
      rows.forEach(function(row){body.appendChild(row)})})})});
document.querySelectorAll("input[data-filter]").forEach(function(input){
  input.addEventListener("input",function(){
    var wanted=input.value.toLowerCase();
    Array.from(document.getElementById(input.dataset.filter).tBodies[0].rows).forEach(function(row){
      row.hidden=!row.textContent.toLowerCase().includes(wanted)})})});
"""


def text(value: Any) -> str:
    """``value`` as text that is safe anywhere in a page, in attributes too."""
    return html.escape(str(value), quote=True)


def page(kind: str, title: str, lead: str, parts: Iterable[str], *, command: str = "") -> str:
    """A whole page.

    Args:
        kind: a word or two above the title.
        title: the page's name (plain text).
        lead: one sentence below it (plain text).
        parts: HTML of the sections.
        command: what made the page (plain text), named at its foot.
    """
    heading = f'<p class="kind">{text(kind)}</p><h1>{text(title)}</h1><p class="lead">{text(lead)}</p>'
    foot = f"Made by <code>{text(command)}</code>." if command else "Made by pomagym."
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)} · pomagym</title><style>{STYLE}</style></head><body><main>"
        f"<header>{heading}</header>"
        + "\n".join(parts)
        + f"<footer>{foot}</footer></main><script>{SCRIPT}</script></body></html>\n"
    )


def section(heading: str, content: str, note: str = "") -> str:
    """A card with a heading (plain text), an explanation (plain text) and HTML content."""
    said = f'<p class="note">{text(note)}</p>' if note else ""
    return f"<section><h2>{text(heading)}</h2>{said}{content}</section>"


def tiles(values: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers side by side: (value, what it is, words below, a line each), plain text."""
    cells = (
        f'<div class="tile"><b>{text(value)}</b><span>{text(name)}</span>'
        + "".join(f"<i>{text(line)}</i>" for line in below.splitlines())
        + "</div>"
        for value, name, below in values
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def facts(rows: Mapping[str, Any]) -> str:
    """Names and values as a list; nested values as JSON-like text."""
    items = (f"<dt>{text(name)}</dt><dd>{text(_plain(value))}</dd>" for name, value in rows.items())
    return f"<dl>{''.join(items)}</dl>"


def warning(heading: str, items: Sequence[str] = ()) -> str:
    """A box that says what is wrong (plain text), with a list."""
    points = "".join(f"<li>{text(item)}</li>" for item in items)
    listed = f"<ul>{points}</ul>" if points else ""
    return f'<div class="warning" role="note"><b>{text(heading)}</b>{listed}</div>'


def cell(
    shown: str, key: Any = None, *, number: bool = False, markup: bool = False, wrap: bool = False
) -> str:
    """A cell of a table.

    Args:
        shown: what stands in it; plain text unless ``markup``.
        key: what the column is sorted by; by default what is shown.
        number: set to the right.
        markup: ``shown`` is HTML.
        wrap: long text may break into lines.
    """
    classes = " ".join(name for name, on in (("number", number), ("wrap", wrap)) if on)
    key = shown if key is None else key
    return f'<td{_attribute("class", classes)} data-key="{text(key)}">{shown if markup else text(shown)}</td>'


def table(
    columns: Sequence[tuple[str, bool]],
    rows: Iterable[tuple[str, Sequence[str]]],
    *,
    caption: str,
    name: str = "",
    sortable: bool = False,
    tall: bool = False,
) -> str:
    """A table.

    Args:
        columns: (heading, whether it holds numbers).
        rows: (class of the row or "", its cells as `cell` makes them).
        caption: what it is, for those who cannot see it (plain text).
        name: id, for a search box above.
        sortable: headings sort when clicked.
        tall: scrolls inside the page.
    """
    heads = []
    for heading, number in columns:
        shown = f'<button type="button">{text(heading)}</button>' if sortable else text(heading)
        heads.append(f'<th scope="col"{_attribute("class", "number" if number else "")}>{shown}</th>')
    body = "".join(f"<tr{_attribute('class', kind)}>{''.join(cells)}</tr>" for kind, cells in rows)
    search = f'<input type="search" data-filter="{text(name)}" placeholder="filter" aria-label="filter rows">'
    scroll = f'class="scroll{" tall" if tall else ""}" tabindex="0" role="region"'
    kinds = f"{_attribute('id', name)}{_attribute('class', 'sortable' if sortable else '')}"
    return (
        f'{search if name else ""}<div {scroll} aria-label="{text(caption)}"><table{kinds}>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _attribute(name: str, value: str) -> str:
    """An attribute of a tag, nothing where the value is empty."""
    return f' {name}="{text(value)}"' if value else ""


def picture(pixels: np.ndarray, description: str, *, caption: str = "", kind: str = "full") -> str:
    """A picture (H, W, 3) uint8 inside the page, as PNG.

    Args:
        pixels: the picture.
        description: for those who cannot see it (plain text).
        caption: below it (plain text).
        kind: ``full`` (as wide as there is room) or ``pixels`` (the same, without smoothing).
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    height, width = pixels.shape[:2]
    return (
        f'<figure><img class="{text(kind)}" width="{width}" height="{height}" alt="{text(description)}" '
        f'src="data:image/png;base64,{data}">{below}</figure>'
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return "-" if value is None else str(value)
