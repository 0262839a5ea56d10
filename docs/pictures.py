"""Draw the picture of a mixture: ``python docs/pictures.py`` writes ``docs/_static/mixture.svg``.

Many sources, a few open streams, one mixed stream, batches. The order of the items is that of a
mux. Colours are such that they can be seen on white and on black; text is white on a filled box.
"""

from pathlib import Path

import pescador

PATH = Path(__file__).parent / "_static" / "mixture.svg"
WIDTH, HEIGHT = 700, 300
MIDDLE = 190  # of what is below the headings
GREY, HEADING = "#80868f", "#2f5d8a"
COLOURS = ("#2f7fc1", "#d9680f", "#1a9a6c", "#a565b8")
TITLE = "Many sources, a few open streams, one mixed stream, batches"
HEADINGS = ("thousands of|sources", "a few open|streams", "one mixed|stream", "batches|to train on")
OPEN = {4: 0, 14: 1, 19: 2, 29: 3}  # which squares are open, and their colours
BATCH, N_BATCHES, N_NEXT = 4, 3, 6


def circle(x, y, colour):
    """Return an item."""
    return f'<circle cx="{x}" cy="{y}" r="8" fill="{colour}"/>'


def box(x, y, width, height, style):
    """Return a rectangle."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" {style}/>'


def path(line, colour):
    """Return a line, which may be curved."""
    return f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>'


def arrow(x, y):
    """Return an arrow to the right."""
    return path(f"M{x} {y}h24m-9 -8l9 8l-9 8", GREY)


def headings():
    """Return what is above the columns."""
    for column, text in enumerate(HEADINGS):
        x = 3 + 177 * column
        yield box(x, 4, 163, 62, f'fill="{HEADING}"')
        for line, words in enumerate(text.split("|")):
            yield f'<text x="{x + 81.5}" y="{29 + 25 * line}">{words}</text>'


def lane(number):
    """Return the height at which a stream lies."""
    return MIDDLE + 50 * (number - 1.5)


def sources():
    """Return squares: grey ones, and those that are open, with a line to their streams."""
    for place in range(30):
        x, y = 12 + 30 * (place % 5), 86 + 36 * (place // 5)
        number = OPEN.get(place)
        colour = GREY if number is None else COLOURS[number]
        more = ' fill-opacity="0.45"' if number is None else ""
        yield box(x, y, 22, 26, f'fill="{colour}"{more}')
        if number is not None:
            yield path(f"M{x + 22} {y + 13}L186 {lane(number)}", colour)


def streams():
    """Return the open streams, each with its next items, and the lines where they are mixed."""
    for number, colour in enumerate(COLOURS):
        y = lane(number)
        yield box(186, y - 16, 120, 32, f'fill="none" stroke="{colour}" stroke-width="2.5"')
        yield from (circle(x, y, colour) for x in range(204, 300, 28))
        yield path(f"M306 {y}C330 {y} 332 {MIDDLE} 352 {MIDDLE}", colour)


@pescador.streamable
def endless(colour):
    """Yield a colour for ever."""
    while True:
        yield colour


def batches():
    """Return the mixed stream, and the batches: what is further right was drawn earlier."""
    mux = pescador.ShuffledMux(map(endless, COLOURS), random_state=2)
    items = list(mux.iterate(BATCH * N_BATCHES + N_NEXT))
    yield from (circle(500 - 27 * n, MIDDLE, items[-N_NEXT + n]) for n in range(N_NEXT))
    yield arrow(528, MIDDLE)
    for number in range(N_BATCHES):
        x, y = 586, MIDDLE + 72 * (number - (N_BATCHES - 1) / 2)
        yield box(x, y - 30, 60, 60, f'fill="none" stroke="{GREY}" stroke-width="2.5"')
        for n, colour in enumerate(items[BATCH * number : BATCH * (number + 1)]):
            yield circle(x + 18 + 24 * (n % 2), y - 12 + 24 * (n // 2), colour)


def mixture():
    """Return the picture."""
    parts = [*headings(), *sources(), *streams(), *batches()]
    style = 'font-family="system-ui, sans-serif" font-size="21" text-anchor="middle" fill="#fff"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
            f'  width="{WIDTH}" height="{HEIGHT}" {style}>',
            f"<title>{TITLE}</title>",
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PATH.write_text(mixture(), encoding="utf-8")
    print(f"saved {PATH}")
