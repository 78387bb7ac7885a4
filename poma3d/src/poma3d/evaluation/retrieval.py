"""Zero-shot scene retrieval by text, with the paper's protocol: R@M-N.

The first M utterances of a scene are joined by spaces and encoded by the long-text path; the score of a scene is the
cosine to its embedding (its views normalised, averaged, normalised); R@M-N is the share of queries whose scene is
among the N best of all scenes. Shapes: Q queries, S scenes, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from poma3d.errors import SettingError
from poma3d.evaluation.intervals import Measure, certain, ratio
from poma3d.towers import TextTower

COLUMNS = ((1, 1), (1, 5), (5, 1), (5, 5))
"""(M, N) of the paper's table."""


def ranks(scores: Tensor, truth: Tensor) -> Tensor:
    """Place (Q,) int64, from 0, of the ``truth`` (Q,) of each query among its ``scores`` (Q, S).

    Among equals the truth comes last, and a score that is no number never helps it: an encoder that says the same
    of every scene, or NaN, finds nothing.
    """
    own = scores.gather(1, truth[:, None])  # (Q, 1)
    return (~(scores < own)).sum(1) - 1  # the truth itself does not count


def join_utterances(said: Sequence[str], m: int, *, every: bool = False) -> list[str]:
    """The queries that the utterances of one scene make.

    Args:
        said: the utterances, in their order.
        m: how many are joined, by spaces; where fewer are left, those.
        every: each run of ``m`` is a query, as in the runner that the authors published with their follow-up
            (github.com/Yebulabula/UniScene3D, ``zero_shot_eval_scene_retrieval.py``); otherwise the first alone.
    """
    if m < 1:
        raise SettingError(f"a query joins at least 1 utterance, found {m}")
    starts = range(0, len(said), m) if every else range(min(1, len(said)))
    return [" ".join(said[start : start + m]) for start in starts]


def scene_retrieval(
    scenes: Tensor, scan_ids: Sequence[str], utterances: Mapping[str, Sequence[str]], text: TextTower
) -> dict[str, Measure]:
    """R@M-N over the scenes that are asked for, and chance; the arguments are those of `query_ranks`.

    Returns:
        ``R@1-1``, ``R@1-5``, ``R@5-1``, ``R@5-5`` and ``chance@1``, ``chance@5``, all in [0, 1].
    """
    places = query_ranks(scenes, scan_ids, utterances, text)
    measures = {f"R@{m}-{n}": ratio((places[m] < n).numpy()) for m, n in COLUMNS}
    return measures | {f"chance@{n}": certain(chance(len(scan_ids), n)) for n in (1, 5)}


def chance(scenes: int, n: int) -> float:
    """Recall at ``n`` of an answer drawn among so many scenes."""
    return min(n / scenes, 1.0)


@torch.no_grad()
def query_ranks(
    scenes: Tensor, scan_ids: Sequence[str], utterances: Mapping[str, Sequence[str]], text: TextTower
) -> dict[int, Tensor]:
    """For each M of `COLUMNS` the place (Q,) from 0 at which each scene that is asked for is found.

    Args:
        scenes: (S, D) embeddings of the scenes, normalised (`poma3d.encoder.retrieval_embedding`).
        scan_ids: S names.
        utterances: what is said of each scene; scenes without take part as answers only.
        text: the tower that the scenes are aligned with.

    Raises:
        SettingError: no scene has an utterance, or text and scenes do not have the same channels.
    """
    asked = [number for number, scan in enumerate(scan_ids) if utterances.get(scan)]
    if not asked:
        raise SettingError(f"none of the {len(scan_ids)} scenes has an utterance to find it by")
    if text.embedding != scenes.shape[1]:
        raise SettingError(
            f"texts of {text.embedding} channels cannot be compared with scenes of {scenes.shape[1]}"
        )
    truth = torch.tensor(asked)
    scenes = scenes.cpu().float()
    places = {}
    for m in sorted({m for m, _ in COLUMNS}):
        queries = [join_utterances(utterances[scan_ids[number]], m)[0] for number in asked]
        said = functional.normalize(text.encode(queries, long=True).cpu().float(), dim=-1)  # (Q, D)
        places[m] = ranks(said @ scenes.T, truth)
    return places
