"""Look at a built site with a browser: do pages fit a wide and a narrow window, does search work?

A page of ours loads every page of the site in a frame, measures it, and sends back what it found.
"""

import contextlib
import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1400, 390)  # pixels: a desk, and a telephone
SOUGHT, FOUND_AT = "StochasticMux", "reference/mixing.html"
TIMEOUT = 300  # seconds, in all

SWITCHES = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1500,1000",
]

LOOKER = """
<!doctype html><meta charset="utf-8"><iframe id="frame" style="border: 0; height: 900px"></iframe>
<script>
const frame = document.getElementById("frame");
const faults = [];
const wait = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

async function open(page, width) {
  frame.style.width = width + "px";
  await new Promise(resolve => { frame.onload = resolve; frame.src = page; });
  return frame.contentDocument;
}

async function measure(page, width) {
  const root = (await open(page, width)).documentElement;
  if (root.scrollWidth > root.clientWidth)
    faults.push(`${page}: is ${root.scrollWidth} pixels wide in a window of ${width}`);
  for (const image of root.querySelectorAll("img"))
    if (!image.complete || !image.naturalWidth)
      faults.push(`${page}: ${image.getAttribute("src")}: is not shown`);
}

async function search(word, place) {
  const page = await open("search.html?q=" + word, WIDTHS[0]);
  for (let n = 0; n < 200; n++) {
    for (const link of page.querySelectorAll("#search-results li a"))
      if (link.getAttribute("href").startsWith(place)) return;
    await wait(50);
  }
  faults.push(`search.html: does not find ${word} at ${place}`);
}

async function look() {
  for (const width of WIDTHS) for (const page of PAGES) await measure(page, width);
  await search(SOUGHT, FOUND_AT);
}

look().catch(error => faults.push("the check itself failed: " + error)).finally(
  () => fetch("/found", {method: "POST", body: JSON.stringify(faults)}));
</script>
"""


def find():
    """Return the path of a browser, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Hand out the site and the page that looks at it; take back what that has found."""

    def __init__(self, *args, looker, found, missing, **kwargs):
        self.looker, self.found, self.missing = looker, found, missing
        super().__init__(*args, **kwargs)

    def do_GET(self):
        if self.path != "/look":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.looker)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.found.put(json.loads(body))

    def send_error(self, code, *args, **kwargs):
        if self.path != "/favicon.ico":
            self.missing.append(f"{self.path}: was asked for, and gave error {code}")
        super().send_error(code, *args, **kwargs)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(site, found, missing):
    """Serve a site; give the address of the page that looks at it."""
    names = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    values = {"WIDTHS": WIDTHS, "PAGES": names, "SOUGHT": SOUGHT, "FOUND_AT": FOUND_AT}
    lines = [f"const {name} = {json.dumps(value)};" for name, value in values.items()]
    looker = LOOKER.replace("<script>", "<script>" + "".join(lines)).encode()
    handler = functools.partial(
        Handler, directory=str(site), looker=looker, found=found, missing=missing
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/look"
        finally:
            server.shutdown()
            thread.join()


def faults(site, program):
    """Return a line for every page that does not fit, lacks something, or cannot be searched."""
    found, missing = queue.Queue(), []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        serving(Path(site), found, missing) as address,
    ):
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        with subprocess.Popen(
            [program, *SWITCHES, *root, f"--user-data-dir={profile}", address],
            env={**os.environ, "TMPDIR": profile},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as browser:
            try:
                return missing + found.get(timeout=TIMEOUT)
            except queue.Empty:
                return [f"{program}: did not look at all pages within {TIMEOUT} seconds"]
            finally:
                browser.terminate()
