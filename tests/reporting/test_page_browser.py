"""The page as Chromium sees it: no error, no request, nothing too wide, charts that are drawn.

Screenshots stay in build/report, which git ignores: CI keeps them.
"""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from tests.thorough import sample

from taut.reporting.page import page

CHROMIUM = shutil.which("chromium")
KEPT = Path(__file__).resolve().parents[2] / "build" / "report"
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
# Put into a copy of a page, it tells the page around it what it finds.
MEASURE = """<script>addEventListener("load", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const box = (one) => one.getBoundingClientRect();
  const quiet = (one) => one.matches(".quiet, style, script");
  const wide = (one) => !quiet(one) && (box(one).right > innerWidth + 0.5 || box(one).left < -0.5);
  // Heads of tables whose rows stand alone on a phone are for who has the page read out.
  const hides = (one) => !quiet(one) && !one.closest(".map, svg") && !one.matches("thead") &&
    one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible";
  const said = (one) => !one.matches("style, script") &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const drawn = (svg) => svg ? box(svg).width / svg.viewBox.baseVal.width : 1;
  const font = (one) => parseFloat(getComputedStyle(one).fontSize) * drawn(one.closest("svg"));
  const sorted = (table, head) => {
    const button = table.tHead.rows[0].cells[head].firstChild;
    const seen = [];
    for (let click = 0; click < 2; click++) {
      button.click();
      seen.push([button.parentNode.getAttribute("aria-sort"),
        [...table.tBodies[0].rows].map((row) => row.cells[head].textContent)]);
    }
    return seen;
  };
  const cut = (text) => {
    const [inner, outer] = [box(text), box(text.closest("svg"))];
    return inner.left < outer.left - 1 || inner.right > outer.right + 1 ||
      inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
  };
  const all = (what) => [...document.querySelectorAll(what)];
  parent.postMessage(JSON.stringify({
    inner: innerWidth, scroll: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    wide: all("body *").filter(wide).map((one) => one.tagName),
    hidden: all("body *").filter(hides).map((one) => one.className),
    bytes: sorted(document.querySelector("#all-tensors"), 4),
    names: sorted(document.querySelector("#all-tensors"), 0),
    roles: all("table.rows [role=cell]").length === all("table.rows td").length,
    heads: getComputedStyle(document.querySelector("#score-1 td:nth-child(3)"), "::before").content,
    charts: all("figure > svg").map((one) => [box(one).width, box(one).height]),
    marks: all("figure > svg").map((one) => one.querySelectorAll("path, use").length),
    cut: all("svg text").filter(cut).map((one) => one.textContent),
    small: Math.min(...all("body *").filter(said).map(font)),
    ink: getComputedStyle(document.querySelector("svg text")).fill,
  }), "*");
});</script>"""
# Shows that copy as wide as a device is (windows have a least width), and keeps what it says.
FRAME = """<!doctype html><title></title><script>
addEventListener("message", (event) => { document.title = event.data; });
</script><iframe src="measured.html" width="{}" height="{}" frameborder="0"></iframe>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


def browse(url, profile, *flags):
    """Run Chromium on a file; gives stdout, and what its console said."""
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, url.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def work(tmp_path_factory, story):
    """A folder with the page, and with a copy that measures itself."""
    folder = tmp_path_factory.mktemp("pages")
    text = page(story)
    (folder / "report.html").write_text(text, encoding="utf-8")
    freed = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", text)
    (folder / "measured.html").write_text(freed.replace("</body>", f"{MEASURE}</body>"))
    return folder


def test_it_loads_without_an_error_and_its_policy_holds(work):
    dom, console = browse(work / "report.html", work / "one", "--dump-dom")
    assert console == []
    assert dom.count("<svg") == 10
    assert 'id="distributions"' in dom
    # What would break the policy does show there: the test can see an error.
    bad = (work / "report.html").read_text(encoding="utf-8")
    bad = bad.replace("</body>", "<script>1</script><img src='http://example.org/a.png'></body>")
    (work / "bad.html").write_text(bad, encoding="utf-8")
    _, console = browse(work / "bad.html", work / "one", "--dump-dom")
    assert len(console) == 2
    assert all("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("device", SIZES)
def test_nothing_is_wider_than_the_screen_nor_cut_off(work, device):
    width, height = SIZES[device]
    (work / f"{device}.html").write_text(
        FRAME.replace("{}", str(width), 1).replace("{}", str(height))
    )
    dom, console = browse(
        work / f"{device}.html", work / device, "--dump-dom", "--virtual-time-budget=3000"
    )
    assert console == []
    found = json.loads(unescape(re.search(r"<title>(.*?)</title>", dom)[1]))
    assert found["inner"] == width
    assert found["scroll"] <= width
    assert found["wide"] == []
    assert found["cut"] == []
    assert len(found["charts"]) == 10
    assert min(size for chart in found["charts"] for size in chart) > 60
    assert min(found["marks"]) > 3
    assert found["hidden"] == []  # behind a scroll
    assert found["small"] >= 12 - 0.01  # pixels
    assert found["heads"] == ('"after"' if device == "phone" else "none")
    assert found["roles"]
    (up, fewest), (down, most) = found["bytes"]
    assert (up, down) == ("descending", "ascending")
    assert fewest == ["5.50 kB", "5.00 kB", "4.50 kB", "4.00 kB", "3.50 kB", "3.00 kB"]
    assert most == fewest[::-1]
    assert found["names"][0][0] == "ascending"
    assert found["names"][0][1][1:] == [
        f"encoder.layer.{n}.attention.output.dense.weight" for n in range(5)
    ]
    assert found["ink"] == "rgb(28, 36, 48)"


@pytest.mark.parametrize("device", sample(list(SIZES), "a browser draws the whole page"))
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_charts_are_drawn_in_the_colours_of_the_mode(work, device, mode):
    KEPT.mkdir(parents=True, exist_ok=True)
    picture = KEPT / f"{device}-{mode}.png"
    picture.unlink(missing_ok=True)
    flags = ["--blink-settings=preferredColorScheme=0"] if mode == "dark" else []
    width, tall = SIZES[device][0], 8000 if device == "phone" else 4400
    browse(
        work / "report.html", work / f"{device}-{mode}", f"--screenshot={picture}",
        f"--window-size={width},{tall}", *flags,
    )  # fmt: skip
    image = Image.open(picture).convert("RGB")
    assert image.width == width
    colours = {colour: count for count, colour in image.getcolors(1 << 22)}
    background, after, before, warn = {
        "light": ((245, 246, 248), (37, 99, 216), (174, 184, 196), (194, 87, 26)),
        "dark": ((14, 17, 22), (107, 157, 255), (86, 97, 113), (240, 146, 90)),
    }[mode]
    assert image.getpixel((2, 2)) == background
    assert colours[background] > 50_000
    for colour in (after, before, warn):  # bars, and text of links and changes
        assert colours.get(colour, 0) > 500, colour
