"""Look at a built site with a browser, in a wide and a narrow window, light and dark.

A page of ours loads every page of the site in a frame, and sends back what is wrong with it:
structure, labels, width, contrast, pictures, errors and search (see ``browser.js``).
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
# What somebody may search for, and the pages that answer it: one of them must be found.
SEARCHES = {
    "rank": ["ranks.html"],
    "multi-GPU": ["ranks.html"],
    "distributed": ["ranks.html"],
    "audio": ["recipes.html", "disk.html"],
    "tokens": ["recipes.html", "examples/mixture_of_texts.html"],
    "S3": ["disk.html", "recipes.html"],
    "Hugging Face": ["frameworks.html", "recipes.html"],
    "pad": ["recipes.html", "maps.html", "reference/shaping.html"],
    "collate": ["recipes.html", "maps.html"],
    "bucket": ["recipes.html", "maps.html", "reference/shaping.html"],
    "shuffle buffer": ["maps.html", "recipes.html", "reference/shaping.html"],
    "validation split": ["recipes.html", "reproducibility.html"],
    "webdataset": ["recipes.html", "disk.html"],
    "TFRecord": ["recipes.html", "disk.html"],
    "StochasticMux": ["reference/mixing.html", "muxing.html"],
}
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
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1500,1000",
]

HERE = Path(__file__).parent
LOOKER = """<!doctype html>
<html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe id="frame" style="border: 0; height: 900px"></iframe>
<script>{values}{script}</script>
"""
# Put at the beginning of every page: keep what goes wrong on it.
LISTENER = b"""<script>
{
  const found = window.faults = [];
  const say = console.error;
  console.error = (...words) => { found.push(words.join(" ")); say(...words); };
  const keep = ({message, reason, target}) =>
    found.push(String(message ?? reason ?? `${target.src ?? target.href} is not loaded`));
  for (const kind of ["error", "unhandledrejection", "securitypolicyviolation"])
    addEventListener(kind, keep, true);
}
</script>"""


def find():
    """Return the path of a browser, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Hand out the site and the page that looks at it; take back what that has found."""

    def __init__(self, *args, looker, found, missing, **kwargs):
        self.looker, self.found, self.missing = looker, found, missing
        super().__init__(*args, **kwargs)

    def handle(self):
        with contextlib.suppress(ConnectionError):  # a page that was left
            super().handle()

    def do_GET(self):
        if self.path != "/look":
            page = Path(self.translate_path(self.path))
            if page.suffix != ".html" or not page.is_file():
                return super().do_GET()
            text = page.read_bytes().replace(b"<head>", b"<head>" + LISTENER, 1)
        else:
            text = self.looker
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.found.put(json.loads(body))

    def send_error(self, code, *args, **kwargs):
        self.missing.append(f"{self.path}: was asked for, and gave error {code}")
        super().send_error(code, *args, **kwargs)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(site, searches, found, missing):
    """Serve a site; give the address of the page that looks at it."""
    names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    values = {"WIDTHS": WIDTHS, "PAGES": names, "SEARCHES": searches}
    lines = [f"const {name} = {json.dumps(value)};" for name, value in values.items()]
    script = (HERE / "browser.js").read_text(encoding="utf-8")
    looker = LOOKER.format(values="".join(lines), script=script).encode()
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


def faults(site, program, searches=SEARCHES):
    """Return a line for everything that a browser finds wrong with a site."""
    found, missing = queue.Queue(), []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        serving(Path(site), searches, found, missing) as address,
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
