"""The site in a browser: each fault is found, and what is like it without it passes."""

import importlib.util
import struct
import zlib
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "browser.py"
spec = importlib.util.spec_from_file_location("browser", SCRIPT)
browser = importlib.util.module_from_spec(spec)
spec.loader.exec_module(browser)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><style>
body { background: white; color: black }
body[data-theme=dark] { background: #111; color: #eee }
.wide { overflow-x: auto; width: 200px }
.wide * { width: 300px }
.shade { background: linear-gradient(red, blue) local }
.panel { background: white; padding: 5px }
</style></head><body>
<h1>A page</h1>
BODY
</body></html>
"""
SHADE = '<div class="wide shade" tabindex="0"><p>text</p></div>'

# What is found of the second text, and not of the first.
CASES = {
    "language": ("does not say its language", PAGE, PAGE.replace(' lang="en"', "")),
    "icon": ("has no icon", PAGE, PAGE.replace('rel="icon"', 'rel="other"')),
    "ids": ("two places named a", '<p id="a"><p id="b">', '<p id="a"><p id="a">'),
    "one heading": ("2 headings of level 1", "<h2>a</h2>", "<h1>a</h1>"),
    "no heading": ("0 headings of level 1", PAGE, PAGE.replace("h1", "h2")),
    "level": ('"b" skips a level', "<h2>a</h2><h3>b</h3><h2>c</h2>", "<h2>a</h2><h4>b</h4>"),
    "caption": (
        "heading without a level",
        '<p role="heading" aria-level="2">a</p>',
        '<p role="heading">a</p>',
    ),
    "link": (
        "link to #a has no text",
        '<a href="#a" style="color: inherit">a</a>',
        '<a href="#a"> </a>',
    ),
    "sign": (
        "link to #a has no text",
        '<a href="#a" style="color: inherit" title="to this heading">¶</a>',
        '<a href="#a" style="color: inherit">¶</a>',
    ),
    "hidden text": (
        "link to #a has no text",
        '<a href="#a" style="color: inherit"><b style="display: none">a</b> b</a>',
        '<a href="#a" style="padding: 9px"><b style="display: none">a</b></a>',
    ),
    "field": ("input has no label", "<label>a <input></label>", "<p>a <input></p>"),
    "button": ("button has no label", '<button aria-label="a"></button>', "<button></button>"),
    "width": (
        "pixels wide in a window of 390",
        '<p style="width: 300px">a',
        '<p style="width: 500px">a',
    ),
    "keyboard": ("no key reaches it", SHADE, SHADE.replace("tabindex", "title")),
    "hint": ("nothing shows that it scrolls", SHADE, SHADE.replace("shade", "")),
    "cut": (
        "cut off",
        '<div style="width: 200px; overflow: hidden"><p style="width: 100px">text',
        '<div style="width: 200px; overflow: hidden"><p style="width: 300px">text',
    ),
    "cut, but for screen readers": (
        "cut off",
        '<div style="position: absolute; clip: rect(1px, 1px, 1px, 1px); width: 9px; '
        'overflow: hidden">unbreakable',
        '<div style="position: absolute; width: 9px; overflow: hidden">unbreakable',
    ),
    "contrast": (
        'p.a, "text": has a contrast of 4.48, not 4.5',
        '<p class="a" style="background: white; color: #767676">text',
        '<p class="a" style="background: white; color: #777">text',
    ),
    "contrast in the dark": (
        "in the dark theme, p",
        "<p>text",
        '<p style="color: #555">text',
    ),
    "transparent ink": (
        "has a contrast of",
        '<p style="background: white; color: rgb(0 0 0 / 80%)">text',
        '<p style="background: white; color: rgb(0 0 0 / 40%)">text',
    ),
    "opacity": (
        "has a contrast of",
        '<div style="background: white; color: black"><p style="opacity: 0.8">text',
        '<div style="background: white; color: black"><p style="opacity: 0.4">text',
    ),
    "gradient": (
        "has a contrast of",
        '<p style="background: linear-gradient(white, #eee); color: black">text',
        '<p style="background: linear-gradient(white, #444); color: black">text',
    ),
    "large text": (
        "not 3",
        '<p style="background: white; color: #808080; font-size: 24px">text',
        '<p style="background: white; color: #a0a0a0; font-size: 24px">text',
    ),
    "placeholder": (
        "has a contrast of",
        '<input title="a" placeholder="text"><style>::placeholder { color: #767676 }',
        '<input title="a" placeholder="text"><style>::placeholder { color: #aaa }',
    ),
    "generated text": (
        "has a contrast of",
        '<p style="background: white"><style>p::after { content: "text"; color: #767676 }',
        '<p style="background: white"><style>p::after { content: "text"; color: #aaa }',
    ),
    "no picture": (
        "broken.png",
        '<img class="panel" src="light.png" alt="a square">',
        '<img class="panel" src="broken.png" alt="a square">',
    ),
    "sharp": (
        "is 40 pixels wide, and shown at 80",
        '<img class="panel" src="light.png" alt="a square" width="40">',
        '<img class="panel" src="light.png" alt="a square" width="80">',
    ),
    "no alt": (
        "says nothing",
        '<img class="panel" src="light.png" alt="a square">',
        '<img class="panel" src="light.png">',
    ),
    "alt": (
        "says nothing",
        '<img class="panel" src="two_words_1.png" alt="a square">',
        '<img class="panel" src="two_words_1.png" alt="two words">',
    ),
    "quotes": (
        "has quotes that end it",
        '<img class="panel" src="light.png" alt="a square, &quot;black&quot;">',
        '<img class="panel" src="light.png" alt="a square, "black"">',
    ),
    "panel": (
        "no light panel in the dark theme",
        '<img class="panel" src="light.png" alt="a square">',
        '<img src="light.png" alt="a square">',
    ),
    "filter": (
        "no light panel in the dark theme",
        '<img src="light.png" alt="a square"><style>[data-theme=dark] img { filter: invert(1) }',
        '<img src="light.png" alt="a square"><style>[data-theme=light] img { filter: invert(1) }',
    ),
    "ink": (
        "can hardly be seen in the dark theme",
        '<img class="panel" src="clear.png" alt="a square">',
        '<img src="clear.png" alt="a square">',
    ),
    "pale": (
        "can hardly be seen",
        '<img class="panel" src="light.png" alt="a square">',
        '<img class="panel" src="pale.png" alt="a square">',
    ),
    "console": (
        "says on the console: no!",
        "<script>console.log('no!')</script>",
        "<script>console.error('no!')</script>",
    ),
    "error": (
        "says on the console: Uncaught Error: no!",
        "<script>try { throw Error('no!') } catch {}</script>",
        "<script>throw Error('no!')</script>",
    ),
    "promise": (
        "says on the console: no!",
        "<script>Promise.reject('no!').catch(() => {})</script>",
        "<script>Promise.reject('no!')</script>",
    ),
    "elsewhere": (
        "loads https://example.org/a.png",
        "<script>new Image().src = 'light.png'</script>",
        "<script>new Image().src = 'https://example.org/a.png'</script>",
    ),
}

SEARCH = """
<div id="search-results"><ul class="search"></ul><p>Search finished</p></div>
<script>
const word = new URLSearchParams(location.search).get("q");
const pages = ["a", "b", "c", "d", "good one", "bad one"];
if (word) for (const page of pages)
  document.querySelector("ul").innerHTML += `<li><a href="${page}.html?highlight=x#y">x</a></li>`;
</script>
"""


def png(ground, ink, size=40):
    """Return a picture with a square of another colour; a colour is four bytes."""
    edge = b"\0" + ground * size
    middle = b"\0" + ground * 10 + ink * (size - 20) + ground * 10
    rows = zlib.compress(edge * 10 + middle * (size - 20) + edge * 10)
    header = struct.pack(">2I5B", size, size, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


BLACK, WHITE, CLEAR = b"\0\0\0\xff", b"\xff\xff\xff\xff", b"\0\0\0\0"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what a browser finds on a site that has each fault once."""
    program = browser.find()
    if program is None:
        pytest.skip("there is no Chromium")
    site = tmp_path_factory.mktemp("site")
    for name, (_, *texts) in CASES.items():
        for kind, text in zip(("good", "bad"), texts):
            page = text if text.startswith("<!doctype") else PAGE.replace("BODY", text)
            (site / f"{name}, {kind}.html").write_text(page, encoding="utf-8")
    (site / "search.html").write_text(PAGE.replace("BODY", SEARCH), encoding="utf-8")
    (site / "request, bad.html").write_text(
        PAGE.replace("BODY", '<p style="background: url(gone.png)">'), encoding="utf-8"
    )
    (site / "broken.png").write_bytes(b"")
    for name, colours in {
        "light": (WHITE, BLACK),
        "two_words_1": (WHITE, BLACK),
        "clear": (CLEAR, BLACK),
        "pale": (WHITE, b"\xee\xee\xee\xff"),
    }.items():
        (site / f"{name}.png").write_bytes(png(*colours))
    searches = {"first": ["good one.html"], "sixth": ["bad one.html"]}
    return browser.faults(site, program, searches)


@pytest.mark.parametrize("name", CASES)
def test_a_browser_finds_the_fault(found, name):
    lines = [line for line in found if line.startswith(f"{name}, bad.html: ")]
    assert lines and all(CASES[name][0] in line for line in lines)


@pytest.mark.parametrize("name", CASES)
def test_a_browser_finds_nothing_without_the_fault(found, name):
    assert [line for line in found if line.startswith(f"{name}, good.html")] == []


def test_a_browser_finds_requests_that_fail(found):
    assert [line for line in found if "was asked for" in line] == [
        "/gone.png: was asked for, and gave error 404"
    ]


def test_a_page_must_be_among_the_first_five_results(found):
    (line,) = (line for line in found if line.startswith("search.html"))
    assert 'finds no page about "sixth"' in line
