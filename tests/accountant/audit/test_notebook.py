"""What a notebook shows of plans and audits: bounds rounded up, and nothing of a name taken for HTML."""

from html.parser import HTMLParser

from accountant.audit.audit import audit_run
from accountant.html_table import html_table
from planners import plan


class Tags(HTMLParser):
    """The tags of a text, which must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], set(), ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f" {data}"


def test_a_plan_shows_its_budget_and_an_upper_bound_of_what_it_spends():
    made = plan(epsilon=3, delta=1e-5, dataset="<script>x</script>", dataset_size=5000, iterations=100)
    shown = Tags(made._repr_html_())
    assert shown.seen == {"table", "caption", "tr", "th", "td"}
    assert "ε = 3, δ = 1e-05" in shown.text and "N = 5000" in shown.text and "<script>" in shown.text
    bound = float(shown.text.split("ε ≤ ")[1].split()[0])
    assert made.verified.epsilon <= bound <= made.verified.epsilon + 1e-4


def test_an_audit_shows_verdict_what_holds_and_every_check(make_run, tmp_path):
    found = audit_run(make_run(tmp_path / "run"))
    shown = Tags(found._repr_html_())
    assert found.verdict in shown.text
    assert all(check.name in shown.text for check in found.checks)
    bound = float(shown.text.split("ε ≤ ")[1].split()[0])
    assert found.guarantee.epsilon <= bound <= found.guarantee.epsilon + 1e-4


def test_every_value_is_escaped():
    assert "<img" not in html_table("<img src=x>", [("<img src=x>", "<img src=x>")])
