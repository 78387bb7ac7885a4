"""Zero-shot scene retrieval by text: R@M-N with intervals, beside controls and the published rows.

The controls are chance, random weights, and perfect labels (`poma3d.evaluation.label_oracle`): what queries that fit
many scenes leave to be found. The protocol is that of `poma3d.evaluation.retrieval`.
Shapes: Q queries, S scenes, V views, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.intervals import mean_over_scenes
from benchmarks.published_retrieval import SOURCE, published_rows
from benchmarks.referring import read_referring, utterances_of
from benchmarks.view_embeddings import (
    ViewEncoder,
    ViewSettings,
    check_channels,
    find_scenes,
    open_contestants,
    read_views,
)
from poma3d.errors import FileError, SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from poma3d.towers import TextTower


@dataclass(frozen=True)
class RetrievalRun(ViewSettings):
    """What decides the numbers."""

    queries: str | None = None
    """A file of `benchmarks.referring`; None = the folders' own ``retrieval/*.jsonl``."""
    every: bool = False
    """Ask with each run of M utterances of a scene, and not with the first M alone."""
    pictures: bool = False
    """Encode the pictures of the views by FG-CLIP and not their point maps (the published row FG-CLIP RGB)."""

    def query_files(self) -> list[Path]:
        """The files that the queries are read from.

        Raises:
            FileError: there is none.
        """
        if self.queries is not None:
            return [Path(self.queries)]
        files = [file for root in self.scenes for file in sorted(Path(root).glob("retrieval/*.jsonl"))]
        if not files:
            raise FileError(
                ", ".join(self.scenes),
                "has no retrieval/*.jsonl; name a file of queries (--queries): a retrieval .jsonl, ScanRefer's .json"
                " or Nr3D's .csv",
            )
        return files

    def as_config(self) -> dict[str, Any]:
        """The settings as JSON values, with the hash of the queries."""
        return self.config_with("queries", self.query_files())


def measure_retrieval(
    run: RetrievalRun,
    *,
    device: str = "cpu",
    on_start: Callable[[int], None] = lambda total: None,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> dict[str, Any]:
    """Measure an encoder and its controls.

    The scenes to choose from are those that the queries speak of and that are there.

    Args:
        run: what to measure.
        device: where the encoder runs.
        on_start: told how many scenes will be encoded, controls included.
        on_scene: told of each.

    Returns:
        ``rows`` (``row``, ``kind`` = measured, control or chance, and ``R@M-N`` with ``mean``, ``ci95``, ``n``),
        ``published``, ``scenes``, ``missing`` (scans asked for that no folder holds), settings and hashes.

    Raises:
        UserError: scenes, queries, encoder or text that cannot be used or do not fit together.
    """
    from poma3d.evaluation.retrieval import COLUMNS

    config = run.as_config()
    utterances = utterances_of([query for file in run.query_files() for query in read_referring(file)])
    files = find_scenes(run.scenes)
    scans = [scan for scan in utterances if scan in files]
    if not scans:
        raise SettingError(
            f"the queries speak of {len(utterances)} scenes, such as {next(iter(utterances))}, and none of them is"
            f" in {', '.join(run.scenes)}, which holds {len(files)}, such as {next(iter(files))}"
        )
    contestants = open_contestants(run.encoder, run.text, pictures=run.pictures, seed=run.seed, device=device)
    on_start(len(contestants.rows) * len(scans))
    rows = []
    said = embed_queries(contestants.text, {scan: utterances[scan] for scan in scans}, every=run.every)
    for name, (kind, views) in contestants.rows.items():
        scenes = embed_scenes(views, [files[scan] for scan in scans], run.views, on_scene)
        rows.append({"row": name, "kind": kind, **score_queries(said, scenes, scans)})
    if recognised := _recognised(run, {scan: utterances[scan] for scan in scans}):
        rows.append({"row": "perfect labels", "kind": "control", **recognised})
    chance = {f"R@{m}-{n}": {"mean": min(n / len(scans), 1.0)} for m, n in COLUMNS}
    rows.append({"row": "chance", "kind": "chance", **chance})
    return {
        "rows": rows,
        "published": published_rows(" ".join(file.name for file in run.query_files())),
        "published_source": SOURCE,
        "scenes": len(scans),
        "missing": sorted(set(utterances) - set(scans)),
        **contestants.facts(config),
    }


def _recognised(run: RetrievalRun, utterances: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """What one finds who recognises everything, where the scenes have labels and each is asked for once."""
    from poma3d.evaluation.label_oracle import label_recall
    from poma3d.scenepoint import DataSettings, ScenePointDataset

    if run.every:
        return {}
    dataset = ScenePointDataset(run.scenes, DataSettings(views=run.views, labels=True), scans=utterances)
    if not dataset.categories:
        return {}
    return {
        name: {"mean": measure.value, "ci95": list(measure.ci95), "n": len(utterances)}
        for name, measure in label_recall(dataset, utterances).items()
    }


def embed_scenes(
    encoder: ViewEncoder,
    files: Sequence[Path],
    views: int,
    on_scene: Callable[[str], None] = lambda scan: None,
) -> Tensor:
    """The embeddings (S, D) of scenes: views normalised, averaged, normalised."""
    import torch

    from poma3d.encoder import retrieval_embedding

    rows = []
    for file in files:
        stored = read_views(file, views, pictures=encoder.pictures)
        rows.append(retrieval_embedding(torch.from_numpy(encoder.embed(stored))))
        on_scene(file.stem)
    return torch.stack(rows)


def embed_queries(
    text: TextTower, utterances: Mapping[str, Sequence[str]], *, every: bool = False
) -> dict[int, tuple[Tensor, list[str]]]:
    """For each M of the table the queries' embeddings (Q, D), normalised, and the scene of each."""
    import torch
    from torch.nn.functional import normalize

    from poma3d.evaluation.retrieval import COLUMNS, join_utterances

    said = {}
    for m in sorted({m for m, _ in COLUMNS}):
        queries = [
            (q, scan) for scan, texts in utterances.items() for q in join_utterances(texts, m, every=every)
        ]
        with torch.no_grad():
            embedded = text.encode([query for query, _ in queries], long=True).cpu().float()
        said[m] = (normalize(embedded, dim=-1), [scan for _, scan in queries])
    return said


def score_queries(
    said: Mapping[int, tuple[Tensor, list[str]]], scenes: Tensor, scans: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """``R@M-N`` with intervals over scenes.

    Args:
        said: as `embed_queries` returns it.
        scenes: (S, D) as `embed_scenes` returns it.
        scans: S names.

    Raises:
        SettingError: texts and scenes of other channels.
    """
    import torch

    from poma3d.evaluation.retrieval import COLUMNS, ranks

    place = {scan: number for number, scan in enumerate(scans)}
    measures = {}
    for m, (queries, asked) in said.items():
        check_channels(queries.shape[1], scenes.shape[1])
        truth = torch.tensor([place[scan] for scan in asked])
        found = ranks(queries @ scenes.T, truth).numpy()
        for n in (n for other, n in COLUMNS if other == m):
            measures[f"R@{m}-{n}"] = mean_over_scenes((found < n).astype(np.float64), asked)
    return measures
