"""The page in a real browser: as narrow as a phone, light and dark, and cut off from every network."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import write_run

from sim.commands.report import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = 390
"""Pixels."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]

# Everything is measured in a frame as wide as a phone: a headless window is never narrower than 500 pixels.
HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body><iframe style="border:0;width:{width}px;height:2000px"
srcdoc="{page}"></iframe><script>
window.onload = () => {{
  const inner = document.querySelector("iframe").contentWindow, page = inner.document;
  const scrolls = (e) => e && (inner.getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
  const wide = [...page.body.querySelectorAll("*")].filter(
    (e) => e.getBoundingClientRect().right > inner.innerWidth + 0.5 && !scrolls(e.parentElement));
  document.body.dataset.found = JSON.stringify({{
    innerWidth: inner.innerWidth,
    scrollWidth: page.documentElement.scrollWidth,
    wide: wide.map((e) => e.outerHTML.slice(0, 80)),
    pictures: [...page.images].map((e) => [e.naturalWidth, e.getBoundingClientRect().width]),
    background: inner.getComputedStyle(page.body).backgroundColor,
    ink: inner.getComputedStyle(page.body).color,
  }});
}};
</script>"""


def look(page: str, folder: Path, *, dark: bool = False) -> dict[str, Any]:
    """What a browser finds on the page, and what the page asked it to fetch: ``asked``."""
    harness = folder / "harness.html"
    harness.write_text(HARNESS.format(width=PHONE, page=html.escape(page)), encoding="utf-8")
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        "--proxy-server=127.0.0.1:9",  # nobody is there: nothing leaves this machine
        "--proxy-bypass-list=<-loopback>",
        f"--log-net-log={folder / 'net.json'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=10000",
        "--dump-dom",
        harness.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    match = re.search(r'data-found="([^"]*)"', dom)
    assert match, dom[-500:]
    found: dict[str, Any] = json.loads(html.unescape(match.group(1)))
    return found | {"asked": asked_by_pages(folder / "net.json")}


def asked_by_pages(path: Path) -> list[str]:
    """Addresses on a network that a page asked for; what the browser wants for itself has no origin."""
    log = json.loads(path.read_text(encoding="utf-8"))
    start = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [event.get("params", {}) for event in log["events"] if event["type"] == start]
    urls = [entry["url"] for entry in asked if entry.get("initiator", "not an origin") != "not an origin"]
    return [url for url in urls if not url.startswith(("file:", "data:", "chrome:"))]


@pytest.fixture
def two_runs(tmp_path: Path) -> str:
    """A page with long names, two runs that are compared, and a run without a cache."""
    long = "a_run_whose_name_has_no_place_to_break_" * 3
    folders = [
        str(write_run(tmp_path / "runs" / name, seed, settings=f"seed: 1\ndistill: {{epochs: {seed + 1}}}\n"))
        for seed, name in enumerate(("first", long))
    ]
    assert main([*folders, "--out", str(tmp_path / "page.html")]) == 0
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_phone_shows_the_whole_width_and_nothing_is_fetched(two_runs: str, tmp_path: Path) -> None:
    light = look(two_runs, tmp_path)
    assert light["innerWidth"] == PHONE
    assert light["wide"] == []
    assert light["scrollWidth"] <= PHONE
    assert len(light["pictures"]) == 37
    assert all(natural > 0 and 250 < shown <= PHONE for natural, shown in light["pictures"])
    dark = look(two_runs, tmp_path, dark=True)
    assert dark["scrollWidth"] <= PHONE
    assert brightness(light["background"]) > 200 > 60 > brightness(light["ink"])
    assert brightness(dark["background"]) < 60 < 200 < brightness(dark["ink"])
    assert light["asked"] == dark["asked"] == []


def test_the_browser_would_notice(tmp_path: Path) -> None:
    page = '<!DOCTYPE html><p style="width:600px">wide</p><img src="http://pictures.invalid/a.png">'
    found = look(page, tmp_path)
    assert found["scrollWidth"] > PHONE
    assert any("wide" in element for element in found["wide"])
    assert found["pictures"][0][0] == 0
    assert found["asked"] == ["http://pictures.invalid/a.png"]


def brightness(colour: str) -> float:
    """Of ``rgb(r, g, b)``, 0 to 255."""
    parts = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
    return sum(parts) / 3
