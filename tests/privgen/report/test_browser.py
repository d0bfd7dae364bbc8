"""The HTML report in a real browser: it opens offline, without a word on the console and without a request."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accountant import BudgetGuard, Ledger, Part, Plan
from accountant.ledger.genesis import genesis_budget
from privgen.report.write import write_reports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARTEFACTS = Path(__file__).parents[3] / "artefacts"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium brings it")

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a run whose every free text is hostile: a name, a reason, a data set."""
    hostile = (
        'x" onload="alert(1)"><script>console.error(1)</script><img src="http://evil.example/a.png" style="color:red">'
    )
    plan = Plan(
        epsilon=10.0,
        delta=1e-5,
        dataset=hostile,
        dataset_size=1437,
        bands=4,
        sampling_rate=0.05,
        iterations=40,
        noise_multiplier=1.0,
        parts=(Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=1.0),),
    )
    run = tmp_path_factory.mktemp("browser") / 'a "run" <b>'
    (run / "release").mkdir(parents=True)
    plan.save(run / "release" / "plan.json")
    with Ledger.create(run / "release" / "ledger.jsonl") as ledger:
        genesis = {"budget": dict(genesis_budget(plan.budget)), "plan": plan.to_json(), "plan_digest": plan.digest}
        ledger.append("genesis", genesis | {"sampling": "Poisson", "noise": "floored-gaussian"})
        guard = BudgetGuard(plan.budget, ledger=ledger)
        for left in range(plan.iterations, 0, -1):
            guard.admit(plan.events()[0][0], at_most=left)
        guard.halt(hostile)
    return write_reports(run)[1]


def browse(page, folder, *options):
    """Opens a page; returns what was on the console, what was asked of the network, and the document."""
    log = folder / "net.json"
    # The path holds quotes and blanks, as a run's name may.
    command = [
        CHROMIUM,
        *QUIET,
        f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={log}",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    # The browser's own errands have no initiator; what a page asks for has its origin.
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    ours = {params["url"] for params in asked if params.get("initiator", "not an origin") != "not an origin"}
    return console, {url for url in ours if not url.startswith(("file:", "data:"))}, done.stdout


def test_it_opens_without_a_word_on_the_console_and_without_a_request(report, tmp_path):
    console, requests, document = browse(report, tmp_path, "--dump-dom")
    assert console == []
    assert requests == set()
    assert "Verdict: PASSED" in document and "<svg" in document


def test_a_page_that_does_either_would_be_noticed(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('here')</script><img src='http://127.0.0.1:9/a.png'>")
    console, requests, _ = browse(page, tmp_path, "--dump-dom")
    assert len(console) >= 1
    assert "http://127.0.0.1:9/a.png" in requests


@pytest.mark.parametrize(("width", "name"), [(1100, "report.png"), (390, "report-phone.png")])
def test_it_shows_something_at_a_desk_and_on_a_phone(report, tmp_path, width, name):
    ARTEFACTS.mkdir(exist_ok=True)
    picture = ARTEFACTS / name
    browse(report, tmp_path, f"--window-size={width},2400", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("L"), np.float64)
    assert pixels.shape == (2400, width)
    # Every quarter of the picture holds text or lines, and nothing runs out of it on the right.
    assert all(quarter.std() > 5 for quarter in np.array_split(pixels, 4))
    assert np.ptp(pixels[:, -4:]) == 0
