"""Pages: the numbers are in them, nothing in them is markup that came from data, half-finished runs are shown."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks import charts
from benchmarks.navigation_runner import job_name
from benchmarks.page import cell, page, section, table, text
from benchmarks.report import write_report
from benchmarks.results import summarize
from benchmarks.scene_page import storey_heights
from poma3d.errors import FileError, SettingError
from pomagym.view import Config, execute

EVIL = "<script>alert('x')</script>"


def episode(number: int, policy: str = "planner", **changes: object) -> dict:
    success = float(number % 2 == 0)
    return {
        "episode_id": str(number),
        "scene_id": "house.glb",
        "policy": policy,
        "seed": 0,
        "steps": 20 + number,
        "success": success,
        "spl": 0.9 * success,
        "soft_spl": 0.7,
        "distance_to_goal": 0.1 if success else 3.25,
        "collisions": number,
        "start_distance": 4.0 + number,
        **changes,
    }


def write_run(
    folder: Path, policy: str = "planner", count: int = 6, finished: bool = True, **changes: object
) -> list:
    folder.mkdir(parents=True)
    records = [episode(n, policy, **changes) for n in range(count)]
    (folder / "episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    config = {"task": "pointnav", "scene": "house.glb", "policy": policy, "seed": 0}
    (folder / "config.json").write_text(json.dumps(config))
    if finished:
        summary = {
            "measures": summarize(records),
            "episodes": {"asked": count, "finished": count},
            "config": config,
            "config_sha256": "abc123",
            "weights_sha256": None,
            "versions": {"python": "3.11.7"},
            "hardware": {"cpu": "some processor"},
            "command": f"pomagym run --policy {policy}",
        }
        (folder / "summary.json").write_text(json.dumps(summary))
    return records


class Checker(html.parser.HTMLParser):
    """Collects tags and text, and checks that what is opened is closed."""

    VOID = frozenset({"meta", "br", "img", "input"})

    def __init__(self, content: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("style", "script"):
            self.text += data


def read(path: Path) -> Checker:
    return Checker(path.read_text())


def test_report_holds_the_numbers(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    path = write_report(tmp_path / "run")
    assert path == tmp_path / "run" / "index.html"
    shown = read(path)
    for number in (
        "50.0%",
        "0.450",
        "0.700",
        "22.5",
        "1.675",
        "pomagym run --policy planner",
        "abc123",
        "some processor",
    ):
        assert number in shown.text, f"{number} is not on the page"
    rows = [tag for tag, _ in shown.tags].count("tr")
    assert rows == 2 + 1 + 6, "a heading and a line in the comparison, a heading and six episodes"
    headings = [attributes for tag, attributes in shown.tags if tag == "th"]
    assert headings
    assert all(attributes.get("scope") == "col" for attributes in headings)


def test_report_needs_no_network(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    content = write_report(tmp_path / "run").read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", content)
    assert "@import" not in content
    assert "url(" not in content


def test_report_escapes_what_comes_from_data(tmp_path: Path) -> None:
    write_run(tmp_path / "run", policy=EVIL, scene_id=f"{EVIL}.glb")
    lines = (tmp_path / "run" / "episodes.jsonl").read_text()
    (tmp_path / "run" / "episodes.jsonl").write_text(lines + f"{EVIL} is no JSON\n")
    path = write_report(tmp_path / "run")
    shown = read(path)
    assert "<script>alert" not in path.read_text()
    assert EVIL in shown.text
    assert [tag for tag, _ in shown.tags].count("script") == 1


def test_an_interrupted_run_is_shown_and_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run", finished=False)
    with open(tmp_path / "run" / "episodes.jsonl", "a") as stream:
        stream.write('["no", "episode"]\n{"episode_id": "9", "sce')
    shown = read(write_report(tmp_path / "run"))
    assert "there is no summary.json" in shown.text
    assert "episodes.jsonl line 7 is no episode" in shown.text
    assert "episodes.jsonl line 8 is damaged" in shown.text
    assert "computed from 6 finished episodes" in shown.text
    assert "50.0%" in shown.text


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text('{"measures": ')
    shown = read(write_report(tmp_path / "run"))
    assert "summary.json cannot be read" in shown.text
    assert "50.0%" in shown.text


def test_values_that_are_missing_are_shown_as_such(tmp_path: Path) -> None:
    write_run(tmp_path / "run", distance_to_goal=None, collisions=None)
    shown = read(write_report(tmp_path / "run"))
    assert "nan" not in shown.text.lower()
    assert "50.0%" in shown.text


def test_failed_episodes_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    path = tmp_path / "run" / "summary.json"
    summary = json.loads(path.read_text())
    summary["failed"] = [
        {"scene_id": "house.glb", "episode_id": "17", "reason": "worker 2 died (signal SIGKILL)"}
    ]
    summary["episodes"] = {"asked": 7, "finished": 6}
    path.write_text(json.dumps(summary))
    shown = read(write_report(tmp_path / "run"))
    assert "6 of 7 episodes are finished" in shown.text
    assert "episode 17 of house.glb failed: worker 2 died (signal SIGKILL)" in shown.text


def test_controls_stand_beside(tmp_path: Path) -> None:
    """Runs beside, of the same settings but for the policy, are shown; others are not."""
    for policy in ("planner", "random", "oracle"):
        write_run(tmp_path / policy, policy)
    other = write_run(tmp_path / "else", "forward")
    config = json.loads((tmp_path / "else" / "config.json").read_text())
    (tmp_path / "else" / "config.json").write_text(json.dumps({**config, "seed": 5}))
    assert other
    shown = read(write_report(tmp_path / "planner"))
    assert shown.text.index("planner") < shown.text.index("oracle") < shown.text.index("random")
    assert "forward" not in shown.text.replace("no thought (forward)", "")


def test_a_comparison_folder_shows_every_policy(tmp_path: Path) -> None:
    for policy in ("oracle", "planner", "random"):
        write_run(tmp_path / "bench" / policy, policy)
    (tmp_path / "bench" / "summary.json").write_text(
        json.dumps({"rows": [], "config": {"task": "pointnav"}, "command": "pomagym bench navigation"})
    )
    shown = read(write_report(tmp_path / "bench"))
    assert "planner" in shown.text
    kinds = [attributes.get("class") for tag, attributes in shown.tags if tag == "tr"]
    assert kinds.count("control") == 4  # side by side, and episode by episode


def test_videos_are_linked_and_small_ones_embedded(tmp_path: Path) -> None:
    write_run(tmp_path / "run", scene_id="a b/house.glb")
    videos = tmp_path / "run" / "videos"
    videos.mkdir()
    small, large = (f"{job_name(('a b/house.glb', episode))}.mp4" for episode in "01")
    (videos / small).write_bytes(b"small")
    (videos / large).write_bytes(bytes(500_000))
    shown = read(write_report(tmp_path / "run"))
    sources = [attributes["src"] for tag, attributes in shown.tags if tag == "video"]
    assert sources == ["data:video/mp4;base64,c21hbGw=", f"videos/{large}"]
    links = {attributes["href"] for tag, attributes in shown.tags if tag == "a"}
    assert links == {f"videos/{small}", f"videos/{large}"}


def test_a_folder_without_results_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no episodes\.jsonl"):
        write_report(tmp_path)
    with pytest.raises(FileError, match="holds no results"):
        write_report(tmp_path / "absent")


def test_an_empty_run_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path / "run", count=0, finished=False)
    assert "0 finished episodes" in read(write_report(tmp_path / "run")).text


def test_tables_sort_by_value_not_by_text() -> None:
    rows = [("", [cell("9.5", 9.5, number=True)]), ("", [cell("10.0", 10.0, number=True)])]
    content = page("k", "t", "l", [section("h", table([("n", True)], rows, caption="c", sortable=True))])
    keys = [attributes["data-key"] for tag, attributes in Checker(content).tags if tag == "td"]
    assert keys == ["9.5", "10.0"]
    assert "data-key" in content
    assert text('"<&') == "&quot;&lt;&amp;"


def test_charts_stay_inside_their_axes() -> None:
    series = {"a": [0.0, 0.5, 1.0, 7.0], "b": []}
    for drawn in (
        charts.histogram("t", series, "x"),
        charts.distribution("t", series, "x"),
        charts.scatter("t", {"a": [(0.0, 0.0, True), (9.9, 1.0, False)], "b": []}, "x", "y"),
        charts.intervals("t", {"a": (0.5, 0.4, 0.6), EVIL: (1.0, 1.0, 1.0)}),
    ):
        checked = Checker(drawn)
        assert "nan" not in drawn
        box = next(a["viewbox"] for t, a in checked.tags if t == "svg").split()
        for _, attributes in checked.tags:
            for name, most in (("x", box[2]), ("cx", box[2]), ("y", box[3]), ("cy", box[3])):
                if name in attributes:
                    assert -1 <= float(attributes[name]) <= float(most) + 1


def test_histogram_bars_are_as_high_as_their_share() -> None:
    drawn = charts.histogram("t", {"a": [0.05] * 3 + [0.95]}, "x")
    heights = [float(a["height"]) for t, a in Checker(drawn).tags if t == "rect"]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.3)


def test_storeys_are_where_most_places_are() -> None:
    heights = np.array([0.2] * 60 + [0.21] * 10 + [1.4] * 3 + [3.2] * 40 + [2.0] * 2)
    points = np.stack([np.zeros(len(heights)), heights, np.zeros(len(heights))], axis=1)
    assert storey_heights(points) == pytest.approx([0.2, 3.2])


def test_view_writes_the_page_of_each_thing(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run")
    assert execute(Config(str(tmp_path / "run"))) == 0
    assert execute(Config("procedural:val:0001", out=Path("house.html"))) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / "run" / "index.html"), "house.html"]
    shown = read(tmp_path / "house.html")
    assert "procedural:val:0001" in shown.text
    assert [tag for tag, _ in shown.tags].count("img") >= 2 + 6, "plan, walkable map, views"
    assert all(attributes["alt"] for tag, attributes in shown.tags if tag == "img")


def test_view_of_an_episode_file(tmp_path: Path, golden_dir: Path, scenes_dir: Path) -> None:
    out = tmp_path / "episodes.html"
    execute(Config(str(golden_dir / "small_house.pointnav.json.gz"), out=out, scenes_dir=scenes_dir))
    shown = read(out)
    assert "30 episodes in 1 scene" in shown.text
    assert [tag for tag, _ in shown.tags].count("img") == 1


def test_view_of_an_episode_file_without_its_scenes(tmp_path: Path, golden_dir: Path) -> None:
    out = tmp_path / "episodes.html"
    execute(Config(str(golden_dir / "small_house.pointnav.json.gz"), out=out, scenes_dir=tmp_path))
    assert "Scenes that are not here are not drawn" in read(out).text


def test_view_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not there"):
        execute(Config(str(tmp_path / "absent")))
    with pytest.raises(SettingError, match=r"ends in \.html"):
        execute(Config("procedural:val:1", out=tmp_path / "page.txt"))
    (tmp_path / "e.json.gz").write_bytes(b"no gzip")
    with pytest.raises(FileError, match="gzip"):
        execute(Config(str(tmp_path / "e.json.gz"), out=tmp_path / "e.html"))


@pytest.mark.timeout(120)
def test_a_browser_runs_the_page(tmp_path: Path) -> None:
    """The sorting script runs in a real browser, where one is installed."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium is installed")
    write_run(tmp_path / "run", count=12)
    path = write_report(tmp_path / "run")
    click = (
        "<script>document.querySelectorAll('#episodes th button')[7].click();"
        "document.title='order '+Array.from(document.querySelectorAll('#episodes tbody tr'))"
        ".map(r=>r.cells[0].textContent).join()</script></body>"
    )
    path.write_text(path.read_text().replace("</body>", click))
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        " --disable-component-update --disable-sync --dump-dom"
    )
    command = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=100).stdout
    if not dom:
        pytest.skip("the browser does not start here")
    assert "<title>order 0,1,2,3,4,5,6,7,8,9,10,11</title>" in dom


def heading(path: Path) -> str:
    """What stands in the page's h1."""
    found = re.search(r"<h1>(.*?)</h1>", path.read_text())
    assert found is not None
    return found[1]


def test_a_page_is_named_after_what_it_is_about(tmp_path: Path) -> None:
    """A run's page after its own policy, whatever lies beside; a comparison after all that is compared."""
    for policy in ("oracle", "planner", "walker", "random"):
        write_run(tmp_path / "bench" / policy, policy)
    assert heading(write_report(tmp_path / "bench" / "random")) == "random"
    both = write_report(tmp_path / "bench")
    assert heading(both) == "planner, walker"
    assert 'class="tiles"' not in both.read_text(), "no large numbers of one of several"
    for policy in ("oracle", "random"):
        write_run(tmp_path / "controls" / policy, policy)
    assert heading(write_report(tmp_path / "controls")) == "oracle, random"
    write_run(tmp_path / "controls" / "planner", "planner")
    alone = write_report(tmp_path / "controls")
    assert heading(alone) == "planner"
    assert 'class="tiles"' in alone.read_text()


def test_runs_on_the_same_episodes_are_compared_one_by_one(tmp_path: Path) -> None:
    first = write_run(tmp_path / "bench" / "first", policy="mine.py:Mine", count=6)
    second = write_run(tmp_path / "bench" / "second", policy="mine.py:Mine", count=8)
    for number, record in enumerate(second):  # nearer by half a metre, whatever the episode
        record["distance_to_goal"] -= 0.5
        record["spl"] = 0.0 if number < 3 else first[min(number, 5)]["spl"]
    lines = "".join(json.dumps(record) + "\n" for record in second)
    (tmp_path / "bench" / "second" / "episodes.jsonl").write_text(lines)
    (tmp_path / "bench" / "second" / "summary.json").unlink()
    shown = write_report(tmp_path / "bench").read_text()
    part = shown[shown.index("<h2>Episode by episode</h2>") :]
    [line] = re.findall(r"<tr>(<td.*?)</tr>", part[: part.index("</section>")], re.DOTALL)
    cells = [re.sub(r"<[^>]*>", "", found) for found in re.findall(r"<td.*?</td>", line)]
    assert cells[:2] == ["less second", "6"]
    assert "0.500 0.500 to 0.500" in cells
    assert "0.300 " in " ".join(cells)  # 0.9 in two of six
    heads = re.findall(r"<th[^>]*>(.*?)</th>", part[: part.index("</section>")])
    assert re.sub(r"<[^>]*>", "", heads[0]) == "first"


def test_two_states_of_one_policy_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("first", "second", "again"):
        write_run(tmp_path / name, policy="mine.py:Mine")
        for file in ("config.json", "summary.json"):
            content = json.loads((tmp_path / name / file).read_text())
            (content.get("config") or content)["policy_sha256"] = {"again": "first"}.get(name, name)
            (tmp_path / name / file).write_text(json.dumps(content))
    shown = read(write_report(tmp_path / "first"))
    assert "less second" in shown.text
    assert "again" not in shown.text  # the same policy on the same episodes
