"""The report of a finished suite in a real browser: a newcomer finds every figure, its caption and every table."""

import re

import pytest

from esgrad import menu
from tests import browser
from tests.workflow import ROOT

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(browser.program() is None, reason=f"no browser is installed: none of {browser.PROGRAMS}"),
]
ROWS = "document.querySelectorAll('nav tbody tr')"
PICTURE = "document.querySelector('#app > div > :last-child img')"
TABLE = "document.querySelector('iframe')"
# The page of a data: address is of another origin: it is read as text and not through its frame.
TEXT = f"fetch({TABLE}.src).then(answer => answer.text())"


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    """The report, open in a browser."""
    with browser.opened(finished.folder / "results/smoke/report.html", tmp_path_factory.mktemp("profile")) as opened:
        opened.until("document.querySelector('nav li a') != null")
        yield opened


@pytest.fixture(autouse=True)
def _nothing_goes_wrong(page):
    """Whatever a test does in the page: no error is logged and no program in it fails."""
    yield
    assert not [words for level, words in page.said if level in ("error", "assert")]


def listed(page, category):
    """Open a category from the home page; the first word of each row of its list."""
    page.value("app.setView({navbarMode: 'menu', content: 'rulegraph'})")
    page.click("nav li a", category)
    page.until(f"{ROWS}.length > 0")
    return page.value(f"[...{ROWS}].map(row => row.children[0].innerText)")


def show(page, category, name, element):
    """Click on the eye beside a name of a list and wait until the element holds what it stands for."""
    row = f"{ROWS}[{listed(page, category).index(name.replace('_', ' '))}]"
    page.value(f"{row}.querySelectorAll('a')[0].click()")
    page.until(f"{element}?.src.slice(0, 200).includes('filename={name}.')")
    return row


def words(text):
    """The words of a text without reStructuredText's marks, on one line."""
    return " ".join(re.sub(r"[*`\\]", "", text).split())


def test_the_first_page_says_what_the_suite_is_and_leads_to_every_figure_and_table(page):
    page.until("document.querySelector('.prose') != null")
    said = page.value("document.querySelector('.prose').innerText")
    assert "What does a gradient cost when you cannot backpropagate?" in said
    assert "No number in it means anything" in said
    for kind in ("figures", "tables"):
        for name in menu.names(kind):
            assert f"{name.replace('_', ' ')}: {menu.summary(kind, name)}" in said


def test_the_top_of_the_first_page_is_in_sight(page):
    assert page.value("document.querySelector('.prose h1').getBoundingClientRect().top") >= 0


def test_a_link_of_the_first_page_shows_a_picture_beside_its_caption(page):
    page.click(".prose a", "gradient cosine")
    page.until(f"{PICTURE}?.naturalWidth > 0")
    assert "How to read it." in page.value("document.querySelector('nav .prose').innerText")


def test_the_figures_are_listed_by_name(page):
    assert listed(page, "Figures") == [name.replace("_", " ") for name in menu.names("figures")]


@pytest.mark.parametrize("name", menu.names("figures"))
def test_a_figure_is_shown_and_explained(page, name):
    row = show(page, "Figures", name, PICTURE)
    page.until(f"{PICTURE}.complete && {PICTURE}.naturalWidth > 300")
    assert page.value(f"{PICTURE}.src.slice(0, 50)").startswith("data:image/svg+xml")
    assert page.value(f"{PICTURE}.getBoundingClientRect().width") > 300
    page.value(f"{row}.querySelectorAll('a')[1].click()")
    page.until("document.querySelector('nav .prose') != null")
    caption = (ROOT / f"workflow/report/{name}.rst").read_text(encoding="utf-8")
    assert words(caption) in words(page.value("document.querySelector('nav .prose').innerText"))


@pytest.mark.parametrize("name", menu.names("tables"))
def test_a_table_is_shown_as_a_page(page, name):
    show(page, "Tables", name, TABLE)
    shown = page.value(TEXT)
    assert f"<h1>{name.replace('_', ' ')}</h1>" in shown
    assert "<table>" in shown or "No rows" in shown


def test_the_verdict_can_be_read(page):
    show(page, "Tables", "slower_than_backprop", TABLE)
    shown = page.value(TEXT)
    assert "<strong>Verdict</strong>" in shown
    assert re.search("<strong>(supported|contradicted|undecided)</strong>", shown)


def test_the_same_list_offers_spreadsheets(page):
    listed(page, "Tables")
    page.click("nav *", "spreadsheet (CSV)")
    link = f"{ROWS}[0].querySelectorAll('a')[0]"
    page.until(f"{link}.download == 'accuracy.csv'")
    assert page.value(f"{link}.href").startswith("data:text/csv")
