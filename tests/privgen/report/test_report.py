"""Reports: one summary in every format, verdict first, and nothing of a ledger that acts on what shows it."""

import hashlib
import importlib.util
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from markdown_it import MarkdownIt

from accountant import (
    BudgetGuard,
    Feedback,
    Ledger,
    Part,
    Phase,
    Plan,
    PrvAccountant,
    RdpAccountant,
    joint_noise_multiplier,
    verify_ledger,
)
from accountant.audit.audit import audit_run, claimed_by_the_paper
from accountant.audit.epsilon_curves import delta_over_epsilon, epsilon_over_steps, first_steps
from accountant.bound_text import lower_text, upper_text
from accountant.claims.claims import claimed_epsilon
from accountant.ledger.genesis import genesis_budget
from accountant.plans.cost_shares import shares_of
from privgen.data.export import png_bytes
from privgen.report.content import report_of
from privgen.report.figures import figures_of
from privgen.report.markdown import render_markdown
from privgen.report.terminal import render_audit
from privgen.report.write import html_report, sample_grid, write_reports

HOSTILE = (
    "x|y `z` *b* <script>alert(1)</script>\n# heading\n\n| a | b |\n```\n"
    "<img src=http://evil.example/a onerror=alert(1)> \" ' & [l](http://evil.example) --> ]]>"
    " \x1b[2J \u202e \ud800 www.evil.example"
)
NAMES = ("critic", "classifier", "reconstruction")


def plan_with(feedback="banded", **changes):
    banded, paper = feedback == "banded", feedback == "paper"
    parts = tuple(
        Part(
            name=name,
            clip_norm=0.25,
            residual_clip_norm=0.75 * banded,
            feedback_clip_norm=2e-5 * paper,
            noise_multiplier=z,
        )
        for name, z in zip(NAMES, (1.3, 1.8, 2.4), strict=True)
    )
    values = {
        "epsilon": 10.0,
        "delta": 1e-5,
        "dataset": "digits",
        "dataset_size": 1437,
        "feedback": Feedback(feedback),
        "bands": 4 if banded else 1,
        "sampling_rate": 0.05,
        "iterations": 40,
        "noise_multiplier": joint_noise_multiplier(*(part.noise_multiplier for part in parts)),
        "parts": parts,
    }
    return Plan(**values | changes)


def make_run(run, plan, *, text=None, steps=None, halted=True, grid=None):
    """A run's folder as training leaves it, but for the training; `text` takes the place of every free text."""
    release, private = run / "release", run / "private"
    release.mkdir(parents=True)
    private.mkdir()
    plan.save(release / "plan.json")
    genesis = {
        "budget": dict(genesis_budget(plan.budget)),
        "plan": plan.to_json(),
        "plan_digest": plan.digest,
        "date": text or "2026-11-24",
        "sampling": text or "Poisson, 64-bit cryptographic coins",
        "noise": text or "floored-gaussian",
        "versions": {text or "privgen": text or "0.1.0"},
        "account": {"name": text or "clinic", "identity": text or "0" * 16},
    }
    with Ledger.create(release / "ledger.jsonl", head_path=private / "head.json") as ledger:
        ledger.append("genesis", genesis)
        guard = BudgetGuard(plan.budget, ledger=ledger)
        for phase in plan.schedule():
            for _ in range(min(phase.iterations, steps or phase.iterations)):
                guard.admit(plan.event_of(phase), at_most=1)
            guard.commit()
        ledger.append(
            "checkpoint", {"name": text or "checkpoint-0", "step": guard.steps, "weights_digest": text or "0" * 64}
        )
        if grid is not None:
            (release / "samples.png").write_bytes(grid)
            ledger.append("release", {"files": {"samples.png": sha256(grid)}})
        elif text:
            ledger.append("release", {"files": {text: text}})
        if halted:
            guard.halt(text or "the plan's 40 iterations are done")
    return run


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    grid = png_bytes(np.full((16, 16, 1), 127, np.uint8))
    two = (
        Phase(iterations=24, sampling_rate=0.05, noise_multiplier=plan_with().noise_multiplier),
        Phase(iterations=16, sampling_rate=0.1, noise_multiplier=1.5),
    )
    broken = make_run(root / "broken", plan_with())
    ledger = broken / "release" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"iterations":40', b'"iterations":41'))
    return {
        "passed": make_run(root / "passed", plan_with(), grid=grid),
        "paper": make_run(root / "paper", plan_with("paper")),
        "phases": make_run(root / "phases", plan_with(phases=two)),
        "incomplete": make_run(root / "incomplete", plan_with(), steps=9, halted=False),
        "hostile": make_run(root / 'h|o `<b>` "r" [x](y)', plan_with(dataset=HOSTILE), text=HOSTILE),
        "broken": broken,
    }


@pytest.fixture(scope="module")
def texts(runs):
    """Every run in every format."""
    made = {}
    for name, run in runs.items():
        audit = audit_run(run)
        made[name] = {
            "terminal": render_audit(audit, colour=False, width=400),
            "markdown": render_markdown(report_of(audit)),
            "html": html_report(audit, run),
            "json": json.dumps(audit.to_json(), allow_nan=False),
        }
    return made


class Page(HTMLParser):
    """What a browser would find in a page: elements with their attributes, and visible text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, *tags):
        return [(tag, attrs) for tag, attrs in self.elements if tag in tags]


def rendered(markdown):
    """The page that a Markdown processor with tables and raw HTML makes of it."""
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


VERDICTS = {
    "passed": "PASSED",
    "paper": "PASSED",
    "phases": "PASSED",
    "incomplete": "INCOMPLETE",
    "hostile": "FAILED",
    "broken": "FAILED",
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_comes_first_in_every_format(texts, name):
    verdict = VERDICTS[name]
    assert texts[name]["terminal"].startswith(f"Verdict: {verdict}")
    assert texts[name]["markdown"].splitlines()[2].startswith(f"**Verdict: {verdict}.**")
    page = Page(texts[name]["html"])
    assert [tag for tag, _ in page.all("h1", "h2")][:2] == ["h1", "h2"]
    assert page.text.index(f"Verdict: {verdict}") < min(page.text.index(t) for t in ("Checks", "How to check"))
    assert json.loads(texts[name]["json"])["verdict"] == verdict.lower()


@pytest.mark.parametrize("name", ["passed", "paper", "phases", "incomplete", "hostile"])
def test_every_format_says_the_same_numbers(texts, runs, name):
    data = json.loads(texts[name]["json"])
    spent, state = data["spent"], verify_ledger(runs[name])
    numbers = [upper_text(spent["rdp"]), upper_text(spent["prv"]["upper"]), lower_text(spent["prv"]["lower"])]
    numbers += [upper_text(spent["epsilon"]), f"{data['steps']['done']} done", f"{data['steps']['reserved']} charged"]
    if data["claimed"]:
        numbers.append(upper_text(data["claimed"]["epsilon"]))
    shown = (texts[name]["terminal"], rendered(texts[name]["markdown"]).text, Page(texts[name]["html"]).text)
    for text in shown:
        assert [number for number in numbers if number not in text] == []
        assert all(check["name"] in text or name == "hostile" for check in data["checks"])
        assert all(assumption["text"] in text for assumption in data["assumptions"])
    assert state.head in shown[1] and state.head in shown[2]


def test_what_is_printed_of_a_bound_is_a_bound():
    assert float(upper_text(8.89561)) == 8.8957 and float(lower_text(8.89569)) == 8.8956
    assert upper_text(float("inf")) == "∞"


def test_no_figure_of_a_broken_ledger_is_shown(texts):
    for form in ("terminal", "markdown", "html"):
        assert "ε" not in texts["broken"][form]
        assert "its digest does not match its content" in texts["broken"][form]


def test_claimed_stands_beside_certified_and_is_called_no_bound(texts, runs):
    state = verify_ledger(runs["paper"])
    claimed = claimed_by_the_paper(state)
    assert claimed == pytest.approx(claimed_epsilon(state.segments[0].event, 40, delta=1e-5))
    assert claimed < audit_run(runs["paper"]).spent.rdp
    for form in ("terminal", "markdown", "html"):
        assert "certified" in texts["paper"][form]
        assert "claimed by the published analysis, not a bound" in texts["paper"][form]
        assert "claimed by the published analysis" not in texts["passed"][form]
    assert json.loads(texts["paper"]["json"])["parts"][0]["feedback"] is None


def test_a_hostile_ledger_leaves_markdown_tables_whole(texts):
    plain, hostile = (rendered(texts[name]["markdown"]) for name in ("incomplete", "hostile"))
    kinds = {tag for tag, _ in hostile.elements}
    assert not kinds & {"script", "img", "a", "b", "em"}
    headings = [tag for tag, _ in hostile.all("h2", "h3")]
    assert headings == [tag for tag, _ in plain.all("h2", "h3")]
    tables = texts["hostile"]["markdown"].split("\n\n")
    for table in (block for block in tables if block.startswith("|")):
        assert len({row.count("|") for row in table.splitlines()}) == 1
    assert "<script>alert(1)</script>" in hostile.text
    assert "http://" not in texts["hostile"]["markdown"] and "www." not in texts["hostile"]["markdown"]


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_no_character_of_a_ledger_acts_on_a_terminal_or_turns_the_reading_round(texts, form):
    text = texts["hostile"][form]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "u202e" in text


@pytest.mark.parametrize("name", VERDICTS)
def test_the_page_loads_nothing_and_runs_nothing(texts, name):
    text = texts[name]["html"]
    page = Page(text)
    assert not page.all("script", "iframe", "object", "embed", "form", "base", "a", "audio", "video", "foreignobject")
    for tag, attrs in page.elements:
        assert not [a for a in attrs if a.startswith("on") or a in ("style", "srcset", "xlink:href")], (tag, attrs)
        loads = [attrs[a] for a in ("src", "href", "data", "action", "poster") if a in attrs]
        assert all(value.startswith("data:") for value in loads)
    style = text.split("<style>")[1].split("</style>")[0]
    assert "@import" not in style and "url(" not in style
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {"#parts-chart-hatch"}
    policy = next(attrs["content"] for _, attrs in page.all("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy


@pytest.mark.parametrize("name", VERDICTS)
def test_the_page_can_be_read_without_seeing_it(texts, name):
    page = Page(texts[name]["html"])
    assert page.all("html")[0][1]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.all("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(attrs.get("scope") in ("col", "row") for _, attrs in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert all(len(attrs["alt"]) > 20 for _, attrs in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.all("svg", "section"):
        assert set(attrs["aria-labelledby"].split()) <= set(ids)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_a_contrast_of_at_least_4_5(scheme):
    style = files("privgen.report").joinpath("templates/report.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    pairs = [(ink, paper) for ink in ("ink", "soft", "good", "wait", "bad") for paper in ("paper", "card")]
    pairs += [(tone, f"{tone}-card") for tone in ("good", "wait", "bad")]
    pairs += [("ink", f"{tone}-card") for tone in ("good", "wait", "bad")]
    pairs += [(line, "paper") for line in ("rdp", "prv", "target", "claimed")]
    for ink, paper in pairs:
        low, high = sorted((luminance(colours[ink]), luminance(colours[paper])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


def test_a_delta_that_is_not_below_one_over_n_is_said(runs, texts, tmp_path):
    weak = audit_run(make_run(tmp_path / "weak", plan_with(delta=1e-3)))
    assert "not below 1/N = 1/1437" in render_audit(weak, colour=False, width=400)
    assert "not below 1/N" in render_markdown(report_of(weak))
    assert "not below 1/N" not in texts["passed"]["terminal"]


def test_the_sample_grid_is_shown_only_where_it_is_the_released_one(runs, tmp_path):
    run = make_run(tmp_path / "run", plan_with(), grid=b"\x89PNG\r\n\x1a\n and so on")
    assert sample_grid(audit_run(run), run).alt.startswith("Grid of images")
    assert "data:image/png;base64," in html_report(audit_run(run), run)
    (run / "release" / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\n another")
    assert sample_grid(audit_run(run), run) is None
    assert "data:image/png" not in html_report(audit_run(run), run)


def test_the_curves_end_where_the_spend_is(runs):
    for name in ("passed", "phases", "paper"):
        audit = audit_run(runs[name])
        curve = epsilon_over_steps(audit.state.segments, audit.state.budget)
        assert (curve.rdp[-1].step, curve.rdp[-1].epsilon) == (40, pytest.approx(audit.spent.rdp))
        assert (curve.prv[-1].step, curve.prv[-1].epsilon) == (40, pytest.approx(audit.spent.prv.upper))
        by_rdp = {point.step: point.epsilon for point in curve.rdp}
        assert all(point.epsilon <= by_rdp[point.step] for point in curve.prv)
        steps = [point.epsilon for point in curve.rdp]
        assert steps == sorted(steps)


def test_each_point_of_delta_over_epsilon_is_what_the_accountants_say(runs):
    state = verify_ledger(runs["passed"])
    curve = delta_over_epsilon(state.segments, state.budget)
    event = state.segments[0].event
    for point in curve.prv:
        assert PrvAccountant().compose(event, 40).get_epsilon(point.delta) == pytest.approx(point.epsilon)
    for point in curve.rdp[::12]:
        assert RdpAccountant().compose(event, 40).get_epsilon(point.delta) == pytest.approx(point.epsilon)


def test_the_first_steps_of_segments_are_cut_within_one(runs):
    segments = verify_ledger(runs["phases"]).segments
    cut = first_steps(segments, 30)
    assert [segment.reserved for segment in cut] == [24, 6]
    assert [segment.event for segment in cut] == [segment.event for segment in segments]


def test_the_shares_add_up_and_feedback_takes_its_part(runs):
    shares = audit_run(runs["passed"]).shares
    assert sum(share.share for share in shares) == pytest.approx(1)
    # Δ² = C1² + R²/3 = 0.0625 + 0.1875: three quarters are fed back.
    assert all(share.feedback == pytest.approx(0.75 * share.share) for share in shares)
    assert [share.feedback for share in shares_of(plan_with("none"))] == [0, 0, 0]
    assert [share.feedback for share in shares_of(plan_with("paper"))] == [None, None, None]


def test_a_run_without_a_step_has_no_figures(tmp_path):
    run = make_run(tmp_path / "run", plan_with(), halted=False, steps=1)
    ledger = run / "release" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().split(b"\n")[0] + b"\n")
    (run / "private" / "head.json").unlink()
    audit = audit_run(run)
    assert audit.verdict == "incomplete" and audit.spent.epsilon == 0
    assert figures_of(audit) == ()
    assert "<svg" not in html_report(audit, run)


def test_both_reports_are_left_beside_what_was_released(tmp_path):
    run = make_run(tmp_path / "run", plan_with())
    markdown, html = write_reports(run)
    assert (markdown, html) == (run / "release" / "report.md", run / "release" / "report.html")
    assert "**Verdict: PASSED.**" in markdown.read_text() and "Verdict: PASSED" in html.read_text()
    assert not list((run / "release").glob(".*"))
    before = html.read_text()
    # A second audit would say of these that no ledger names them.
    markdown.unlink(), html.unlink()
    assert write_reports(run) and html.read_text() == before


@pytest.mark.skipif(importlib.util.find_spec("dp_accounting") is None, reason="dp-accounting is not installed")
@pytest.mark.parametrize("name", ["passed", "paper", "phases"])
def test_the_lines_for_another_library_give_what_prv_gives(texts, runs, name, capsys):
    code = re.search(r"```python\n(.*?)```", texts[name]["markdown"], re.DOTALL).group(1)
    exec(code, {})
    printed = float(capsys.readouterr().out)
    bounds = audit_run(runs[name]).spent.prv
    assert bounds.lower - 0.01 <= printed <= bounds.upper + 0.01
