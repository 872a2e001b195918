"""The files of an evaluation: complete, self-contained, escaped, and working in a real browser."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image
from rectangles import BOX, FAR, data_of, mixed, predictions_of

from fashionseg.data.coco import Category, read_coco, write_coco
from fashionseg.evaluation import EvaluateOptions, evaluate, measure
from fashionseg.evaluation.files import write_files
from fashionseg.evaluation.gallery import draw_worst, unshown_warning
from fashionseg.evaluation.latency import latencies
from fashionseg.evaluation.report import report_html
from fashionseg.evaluation.result import Evaluation, Subject

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = '<script>alert("1")</script> $\\foo$ &amp; \x1b[31m\ud800\'"'
VOID = {"meta", "img", "br", "link", "input", "hr"}


def evaluation_of(data, predictions, photos=None, name="model", latency=()):
    metrics, outcomes = measure(data, predictions, latency)
    subject = Subject("predictions", name, "0" * 64, name)
    return Evaluation(subject, data, "1" * 64, photos, predictions, metrics, tuple(outcomes), None, ())


class Page(HTMLParser):
    """Checks nesting; collects tags, links and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for key, value in attributes if key in ("src", "href", "xlink:href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for key, value in attributes if key in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> inside {self.open}"
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


@pytest.fixture
def real_evaluation(photo_set):
    """An evaluation with photos, wrong predictions and latencies."""
    data = read_coco(photo_set)
    size = (80, 64)
    found = [(1, 20, (16, 10, 33, 29), 0.9), (2, 10, (16, 10, 33, 29), 0.8), (4, 10, (2, 60, 12, 15), 0.7)]
    photos = tuple(photo_set.parent / "images" / image.file_name for image in data.images)
    stages = latencies([{"read": 0.001, "model": 0.02}] * 4)
    return evaluation_of(data, predictions_of(found, data, size), photos, latency=stages)


def test_page_is_whole_and_needs_nothing(real_evaluation):
    text = report_html(real_evaluation)
    page = Page(text)
    assert page.tags.count("svg") == 5
    assert page.tags.count("img") == 2 * 5, "every photo has a mistake, each is shown twice"
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in page.links), page.links
    assert "default-src 'none'" in text
    assert "http:" not in text and "https:" not in text
    assert not re.search(r"\$\w", text), "a placeholder was left"
    shown = " ".join(page.text)
    for words in ("mask AP", "Worst photos", "wrong class", "000.png", "bare-000.png", "Time a photo"):
        assert words in shown


def test_ids_are_unique_and_style_stays_inside(real_evaluation):
    text = report_html(real_evaluation)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    assert text.count("<style") == 1
    assert "font-family: 'DejaVu" not in text


def test_text_of_strangers_is_escaped(photo_set):
    data = read_coco(photo_set)
    categories = tuple(Category(one.id, f"{EVIL}{one.id}") for one in data.categories)
    images = tuple(replace(one, file_name=f"{EVIL}{one.file_name}") for one in data.images)
    folder = photo_set.parent / "images"
    photos = tuple(folder / image.file_name for image in data.images)
    odd = [replace(one, extra={"viewpoint": EVIL}) for one in data.instances]
    data = replace(data, categories=categories, images=images, instances=tuple(odd))
    evaluation = evaluation_of(data, predictions_of([], data, (80, 64)), photos, name=EVIL)
    text = report_html(evaluation)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    assert "\x1b" not in text
    text.encode("utf-8")
    assert any('<script>alert("1")</script>' in part for part in page.text), "it is shown as it is"


def test_without_photos_without_predictions_without_masks():
    data = data_of([[(1, BOX)], [(2, FAR)], []])
    bare = replace(data, instances=tuple(replace(one, segmentation=None) for one in data.instances))
    for evaluation in (
        evaluation_of(data, predictions_of([], data)),
        evaluation_of(bare, predictions_of([(1, 1, BOX, 0.9)], data)),
        evaluation_of(data, replace(predictions_of([(1, 1, BOX, 0.9)], data), rles=None)),
    ):
        page = Page(report_html(evaluation))
        assert page.tags.count("svg") == 5
        assert "img" not in page.tags
        assert "not at hand" in " ".join(page.text)


def test_perfect_predictions_have_no_worst_photo(photo_set):
    data = data_of([[(1, BOX)]])
    evaluation = evaluation_of(data, predictions_of([(1, 1, BOX, 0.9)], data), (photo_set,))
    assert "There is no photo with a mistake" in report_html(evaluation)


def test_masks_only_boxes_in_gallery(photo_set):
    """Predictions without masks, photos at hand: boxes are drawn."""
    data = read_coco(photo_set)
    photos = tuple(photo_set.parent / "images" / image.file_name for image in data.images)
    predictions = replace(predictions_of([(1, 10, (2, 2, 30, 30), 0.9)], data, (80, 64)), rles=None)
    assert Page(report_html(evaluation_of(data, predictions, photos))).tags.count("img") == 10


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"no picture"), "not a JPEG, PNG"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "damaged or incomplete"),
        (lambda path: Image.new("RGB", (80, 64)).save(path), "80 x 64 pixels"),
        (lambda path: path.unlink(), "not there"),
    ],
    ids=["none", "cut", "turned", "gone"],
)
def test_a_photo_that_cannot_be_drawn_costs_itself_only(tmp_path, real_evaluation, spoil, reason):
    spoil(real_evaluation.photos[0])
    written = write_files(real_evaluation, tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("img") == 2 * 4
    assert text.count("<p class=unshown>") == 1
    shown = " ".join(page.text)
    assert "000.png" in shown and shown.count(reason) == 2, "in the gallery, and as a warning"
    assert len(written.warnings) == 1
    assert written.warnings[0].startswith("1 photo of the gallery cannot be shown: ") and reason in written.warnings[0]
    assert json.loads((tmp_path / "metrics.json").read_text())["warnings"] == list(written.warnings)


def test_photos_that_cannot_be_drawn_are_counted(real_evaluation):
    for path in real_evaluation.photos[:3]:
        path.write_bytes(b"")
    assert unshown_warning(draw_worst(real_evaluation)).startswith("3 photos of the gallery cannot be shown, the first")


def test_files(tmp_path, real_evaluation):
    write_files(real_evaluation, tmp_path)
    names = {path.name for path in tmp_path.iterdir() if path.suffix in (".png", ".html", ".json")}
    assert names >= {"ap_per_class.png", "f1_per_class.png", "pr.png", "f1.png", "confusion.png", "report.html"}
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 300, path

    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert metrics["metrics"]["segm/AP50"] == real_evaluation.metrics.flat()["segm/AP50"]
    assert metrics["metrics"]["segm/APl"] is None
    assert all(value is None or 0 <= value <= 1 for name, value in metrics["metrics"].items() if "latency" not in name)
    assert metrics["garments"] == {"Trousers": 3, "shirt": 5}
    assert metrics["latency_ms"]["total"]["median"] == pytest.approx(21)
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert results == real_evaluation.predictions.to_results()


def test_predictions_written_are_predictions_read(tmp_path):
    data, predictions = mixed()
    write_coco(data, tmp_path / "truth.json")
    (tmp_path / "p.json").write_text(json.dumps(predictions.to_results()))
    first = evaluate(EvaluateOptions(tmp_path / "p.json", tmp_path / "truth.json", output=tmp_path / "out"))
    again = evaluate(EvaluateOptions(tmp_path / "out" / "predictions.json", tmp_path / "truth.json"))
    assert first.metrics.flat() == again.metrics.flat()


PROBE = """<script>
const broken = [];
document.addEventListener("securitypolicyviolation", (event) => broken.push(event.violatedDirective));
const table = document.querySelector("#classes table");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
const button = [...table.querySelectorAll("th button")].find((one) => one.textContent === "garments");
const before = names();
button.click();
const descending = names();
button.click();
const ascending = names();
const figure = document.querySelector(".gallery figure");
const narrow = figure.clientWidth;
figure.querySelector("button").click();
const images = [...document.images];
Promise.all(images.map((image) => (image.loading = "eager", image.decode()))).then(() => {
  document.body.dataset.probe = JSON.stringify({
    before, descending, ascending, broken, sort: button.parentElement.getAttribute("aria-sort"),
    sizes: images.map((image) => image.naturalWidth), wider: figure.clientWidth > narrow,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    muted: getComputedStyle(document.querySelector("svg text")).fill,
    paper: getComputedStyle(document.body).backgroundColor,
  });
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_real_browser(tmp_path, real_evaluation, dark):
    """Columns sort, photos open, nothing is blocked, nothing overflows, and colours follow light and dark."""
    page = tmp_path / "report.html"
    page.write_text(report_html(real_evaluation).replace("</body>", PROBE + "</body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,900", "--virtual-time-budget=4000"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    found = re.search(r'data-probe="([^"]+)"', done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    probe = json.loads(found[1].replace("&quot;", '"'))
    assert probe["before"] == ["Trousers", "shirt"]
    assert probe["descending"] == ["shirt", "Trousers"]
    assert probe["ascending"] == ["Trousers", "shirt"]
    assert probe["sort"] == "ascending"
    assert probe["broken"] == []
    assert probe["sizes"] == [64] * 10
    assert probe["wider"] is True
    assert probe["overflow"] == 0
    assert (probe["muted"], probe["paper"]) == (
        ("rgb(152, 161, 179)", "rgb(18, 20, 26)") if dark else ("rgb(102, 112, 133)", "rgb(245, 246, 249)")
    )
