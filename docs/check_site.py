"""Check a built site: ``python docs/check_site.py SITE``.

Every link inside the site must lead somewhere, those to other sites must be well-formed, and
nothing that a page needs may come from elsewhere. If there is a Chromium, it looks at the pages as
well (see ``browser.py``).
"""

import argparse
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes that name what a page loads by itself; a link is only followed by who reads it.
LOADED = {("img", "src"), ("script", "src"), ("source", "srcset"), ("link", "href")}
FOLLOWED = {("a", "href")}
OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.I)
WELL_FORMED = re.compile(
    r"https://([\w-]+\.)+[a-z]{2,}(:\d+)?([/?#][^\s<>\"]*)?|mailto:[^\s@]+@[^\s@]+", re.I
)


class Page(HTMLParser):
    """What a page links to, loads, and can be linked at."""

    def __init__(self, path):
        super().__init__()
        self.links = []  # (what it names, whether the page loads it)
        self.anchors = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if not value:
                continue
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)
            elif (tag, name) in LOADED | FOLLOWED:
                self.links.append((value, (tag, name) in LOADED))


def faults(site):
    """Return a line for every link that leads nowhere, and for what is loaded from elsewhere."""
    site = Path(site).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link, is_loaded in page.links:
            fault = fault_of(link, is_loaded, path, pages, site)
            if fault:
                found.append(f"{path.relative_to(site)}: {link}: {fault}")
    for path in sorted(site.rglob("*.css")):
        for address in re.findall(
            r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", _text(path)
        ):
            found.append(f"{path.relative_to(site)}: {address}: is loaded from elsewhere")
    return found if pages else [f"{site}: there are no pages"]


def _text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def fault_of(link, is_loaded, path, pages, site):
    """Return what is wrong with a link of the page at ``path``, if anything is."""
    if link.startswith("data:") and is_loaded:
        return None
    if OUTSIDE.match(link):
        if is_loaded:
            return "is loaded from elsewhere"
        return None if WELL_FORMED.fullmatch(link) else "is no well-formed address of https"
    parts = urlsplit(link)
    target = path
    if parts.path:
        target = (path.parent / unquote(parts.path)).resolve()
    if site not in target.parents and target != site:
        return "is outside the site"
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "there is no such file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "there is no such place on that page"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, help="the folder with the built pages")
    site = parser.parse_args().site
    found = faults(site)
    import browser  # the file beside this one

    program = browser.find()
    if program is None:
        print("there is no Chromium to look at the pages with")
    else:
        found += browser.faults(site, program)
    print(*found or ["no fault found"], sep="\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
