"""The page of an audit: one file, whatever the names in it."""

from html.parser import HTMLParser

import pytest

from flows.commands.audit_page import page_of
from flows.commands.audit_words import verdict_of
from tasks.audit.report import (
    About,
    Checked,
    ClassFigures,
    Finding,
    Node,
    Notes,
    Output,
    Promotion,
    Report,
    Subject,
    Unchecked,
)

EVIL = "<script>alert('x')</script>"
SUBJECT = Subject(
    name="bank",
    version="3",
    aliases=("champion",),
    classes=("cloth", "metal"),
    run="run",
    commit="commit",
    dvc_lock="lock",
)


def report(**changes) -> Report:
    node = Node(
        name="knowledge@metal",
        inputs=(),
        outputs=(Output(path="bank/metal/knowledge", md5="0123456789abcdef", size=2000, files=3),),
    )
    plain = {
        "asked": "champion",
        "subject": SUBJECT,
        "about": about("metal"),
        "lineage": (node,),
        "checked": (Checked(place="cache", what="objects", number=1),),
        "findings": (),
        "unchecked": (),
        "verdict": "clean",
        "at": "2030-01-02T03:04:05+00:00",
        "seconds": 1.0,
    }
    return Report.model_validate({**plain, **changes})


def about(text: str) -> About:
    """What is on record of a version, with the same text wherever one can be."""
    figures = ClassFigures(image_auroc=0.9876, pixel_ap=None, false_alarm_rate=0.05, detection_rate=0.75)
    change = Promotion(at="2030-01-02T03:04:05+00:00", what=text, before="1", after="2", by=text, why=text)
    return About(figures={text: figures}, promotions=(change,), params={text: text})


def finding(*nodes: str, what: str = "file") -> Finding:
    return Finding(place="cache", what=what, found="missing", expected="md5 1", nodes=nodes)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and those of a class."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, kind: str) -> int:
        return sum(attrs.get("class") == kind for _, attrs in self.found)


def test_every_node_is_drawn_and_what_is_not_on_record_looks_so():
    """Seven steps a class and four at the end; here all but one step and the ends are missing."""
    page = Elements(page_of(report()))
    assert (4, 14, 0) == tuple(map(page.of, ("good", "gone", "bad")))


def test_a_class_hands_on_what_the_next_one_is_learned_with_only_where_it_does():
    """Two arrows down between two classes whose states are linked, and one, of the evaluation, where they are not."""

    def down(needed: str) -> int:
        given = Output(path=f"bank/{needed}/carry", md5="0" * 32, size=1, files=1)
        node = Node(name="knowledge@metal", inputs=(given,), outputs=())
        page = Elements(page_of(report(lineage=(node,))))
        lines = [attrs for tag, attrs in page.found if tag == "line"]
        return sum(line["x1"] == line["x2"] for line in lines)

    assert down("start") + 1 == down("cloth")


def test_findings_are_marked_at_the_nodes_they_concern_and_lead_to_their_line():
    """Two findings at one node, one of them at another too, and one at a node that is not drawn."""
    findings = (finding("model"), finding("model", "knowledge@metal"), finding("data/other"))
    page = Elements(page_of(report(findings=findings, verdict="findings")))
    assert 2 == page.of("bad")
    links = {attrs["href"] for tag, attrs in page.found if tag == "a"}
    ids = {attrs.get("id") for _, attrs in page.found}
    assert {"#finding-1", "#finding-2"} == links
    assert {"finding-1", "finding-2", "finding-3"} <= ids
    assert "3 findings" in page.text


def test_names_are_text_and_nothing_is_fetched():
    """Whatever stands in a tag of MLflow's or in the name of a file."""
    subject = SUBJECT.model_copy(update={"classes": (EVIL,), "run": EVIL, "commit": EVIL, "aliases": (EVIL,)})
    hostile = report(
        subject=subject,
        about=about(EVIL),
        findings=(finding("version", what=EVIL),),
        unchecked=(Unchecked(place=EVIL, why=EVIL),),
        verdict="findings",
    )
    text = page_of(hostile)
    page = Elements(text)
    assert EVIL not in text
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.found}
    assert "http" not in text
    assert "url(" not in text.replace("url(#tip)", "")


def test_figures_promotions_and_images_at_fault_are_told_by_name():
    """Of an object of DVC's, every image that it is, of whatever kind."""
    text = page_of(
        report(
            findings=(finding("data/metal", what="0a/bc (data/metal/train/a.png, data/metal/test/b c.TIFF)"),)
        )
    )
    for said in ("0.988", "0.750", "2030-01-02 03:04", "1 → 2"):
        assert f">{said}<" in text
    for image in ("data/metal/train/a.png", "data/metal/test/b c.TIFF"):
        assert f"<code>{image}</code>" in text


def test_without_a_version_the_page_says_why():
    """Nothing to draw."""
    page = Elements(
        page_of(
            report(
                subject=None,
                lineage=(),
                unchecked=(Unchecked(place="MLflow", why="away"),),
                verdict="incomplete",
            )
        )
    )
    assert "svg" not in {tag for tag, _ in page.found}
    assert "away" in page.text


@pytest.mark.parametrize(
    ("findings", "unchecked", "verdict", "said"),
    [
        (0, 0, "clean", "clean: all is what the records say"),
        (1, 0, "findings", "1 finding"),
        (2, 1, "findings", "2 findings; not all could be checked"),
        (0, 1, "incomplete", "no findings, but not all could be checked"),
    ],
)
def test_a_finding_outweighs_what_could_not_be_checked(findings, unchecked, verdict, said):
    """And what could not be checked is never clean."""
    notes = Notes()
    for _ in range(findings):
        notes.find("cache", "file", "missing", "md5 1", "model")
    for _ in range(unchecked):
        notes.skip("cache", "away")
    assert verdict == notes.verdict
    made = report(findings=tuple(notes.findings), unchecked=tuple(notes.unchecked), verdict=notes.verdict)
    assert said == verdict_of(made)
