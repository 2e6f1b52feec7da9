"""The guide's last page leaves a web page: Chromium runs it, and it reads as PyTorch does."""

import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest

from .snippets import read_page

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000", "--dump-dom"),
)
# Reads pictures, then draws the digits' own strokes with a finger, and tells both in the title.
PROBE = """<script>
const tell = (event, [x, y]) => {
  const box = pad.getBoundingClientRect();
  pad[event]({ clientX: box.left + x * box.width, clientY: box.top + y * box.height });
};
ready.then(() => {
  const read_as = [];
  for (const stroke of STROKES) {
    lines = [];
    tell("onpointerdown", stroke[0]);
    for (const point of stroke.slice(1)) tell("onpointermove", point);
    pad.onpointerup();
    read_as.push(document.getElementById("told").textContent);
  }
  document.title = JSON.stringify([PICTURES.map((one) => Array.from(read(one))), read_as]);
});
</script>"""

pytestmark = pytest.mark.slow("exports to ONNX, as the page does, and opens a browser")


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder in which the page ran, and the names that its Python left."""
    from .follow import follow

    folder = tmp_path_factory.mktemp("phone")
    return folder, follow(read_page("docs/guide/phone.md"), folder)


def test_the_page_does_what_it_shows(followed):
    folder, names = followed
    assert (folder / "digits.py").is_file()
    assert names["expected"].shape == (10, 10)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_the_web_page_reads_what_is_drawn(followed, tmp_path):
    folder, names = followed
    strokes = [[[int(x) / 10, int(y) / 10] for x, y in line.split()] for line in _strokes(folder)]
    probe = PROBE.replace("STROKES", json.dumps(strokes))
    probe = probe.replace("PICTURES", json.dumps(names["drawn"].reshape(10, 256).tolist()))
    page = tmp_path / "probed.html"
    page.write_text(names["html"] + probe, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    outputs, drawn = json.loads(unescape(re.search(r"<title>(.*?)</title>", done.stdout)[1]))
    np.testing.assert_allclose(outputs, names["expected"], rtol=1e-3, atol=2e-3)
    assert sum(told.startswith(str(digit)) for digit, told in enumerate(drawn)) >= 9, drawn


def _strokes(folder):
    """The lines that digits.py draws."""
    text = (folder / "digits.py").read_text(encoding="utf-8")
    return re.findall(r'^    "([\d ]+)",$', text, re.MULTILINE)
