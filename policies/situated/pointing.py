"""Our head: the text looks for its goal among all patches, in the agent's frame, and reads the way off what it finds.

Each patch is known by its token from the frozen encoder and by its place as the agent has it: distance, height and
bearing, and where the way there sets out (`policies.situated.first_leg`), all as Fourier codes. The text is pooled into
a few queries; each looks at all patches once or more, then points at some, and directions are read off the bearings of
what it points at. The code of a place is split in what a turn of the agent leaves alone, which alone says *where to
look*, and in bearings, which alone say *what to answer*: so what is learned at one heading holds at every other.

Why codes instead of encoding every view in the agent's frame: the encoder is trained not to care where a point map
is placed, so the place must come from elsewhere anyway, and each view is encoded once a scene instead of once a sample.
The other way is kept as the placing ``agent``. Shapes: B samples, S scenes, K patches, C width, M queries, F code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.situated.batch import HeadBatch
from policies.situated.posed import FARTHEST
from policies.situated.samples import Answers
from policies.situated.settings import HeadSettings
from policies.situated.specialist import AttentionPooling, Classifier
from policies.situated.text import TextStates

HEADS = 4
"""Attention heads of a look at the patches."""
_HARMONICS = 4
_WAVELENGTHS = (2.0, 4.0, 8.0)
_PLACE = 5 + 2 * len(_WAVELENGTHS)
_BEARINGS = 4 * _HARMONICS
_SECTORS = (4, 8)
"""Directions that a pointer's mass is summed over."""
_SHARPNESS = 12.0
_LEAST_MASS = 0.02


def place_codes(batch: HeadBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where each patch lies for each agent.

    Returns:
        (B, K, 11) what a turn leaves alone: distances, height; (B, K, 16) harmonics of the straight bearing and of
        the way's first leg, from the look direction; and these two bearings (B, K), radians.
    """
    offset = batch.centres[batch.scene] - batch.location[:, None]  # (B, K, 3)
    reach = offset[..., :2].norm(dim=-1)  # (B, K)
    straight = torch.atan2(offset[..., 1], offset[..., 0]) - batch.yaw[:, None]
    way, along = straight, reach
    if batch.way_bearing is not None and batch.way_distance is not None:
        way = batch.way_bearing - batch.yaw[:, None]
        along = batch.way_distance
    near, far = reach.log1p(), along.log1p()
    place = [near, far, far - near, offset[..., 2], (along >= FARTHEST - 0.01).float()]
    for wavelength in _WAVELENGTHS:
        phase = along * (2 * math.pi / wavelength)
        place += [phase.cos(), phase.sin()]
    bearings = []
    for k in range(1, _HARMONICS + 1):
        bearings += [(k * straight).cos(), (k * straight).sin(), (k * way).cos(), (k * way).sin()]
    return torch.stack(place, -1), torch.stack(bearings, -1), straight, way


class Look(nn.Module):
    """Queries look at all patches by what they are and how far, and take in what they are and where.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.place_key = nn.Linear(width // HEADS, _PLACE, bias=False)
        self.place_value = nn.Linear(_PLACE, width // HEADS, bias=False)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(
        self, queries: Tensor, patches: Tensor, scene: Tensor, place: Tensor, hidden: Tensor
    ) -> Tensor:
        """``queries`` (B, M, C), ``patches`` (S, K, C), ``place`` (B, K, F), ``hidden`` (B, K) not to be seen."""
        B, M, C = queries.shape
        K = patches.shape[1]
        query = self.query(self.norm(queries)).reshape(B, M * HEADS, C // HEADS)  # (B, M, C) -> (B, M h, c)
        by_head = query.reshape(B, M, HEADS, -1)
        key = self.key(patches).reshape(-1, K, HEADS, C // HEADS)[scene]  # (S, K, C) -> (B, K, h, c)
        scores = torch.einsum("bmhc,bkhc->bmhk", by_head, key).reshape(B, M * HEADS, K)  # -> (B, M h, K)
        scores = scores + self.place_key(query) @ place.transpose(1, 2)  # (B, M h, F) @ (B, F, K)
        weights = (scores * (C // HEADS) ** -0.5).masked_fill(hidden[:, None], -1e4).softmax(-1)
        value = self.value(patches).reshape(-1, K, HEADS, C // HEADS)[scene]  # (B, K, h, c)
        found = torch.einsum("bmhk,bkhc->bmhc", weights.reshape(B, M, HEADS, K), value)
        found = found + self.place_value(weights @ place).reshape(
            B, M, HEADS, -1
        )  # (B, M h, F) -> (B, M, h, c)
        queries = queries + self.out(found.reshape(B, M, C))  # (B, M, h, c) -> (B, M, C)
        return queries + self.feed(self.norm_out(queries))


class SituatedHead(nn.Module):
    """Our head.

    Args:
        settings: its sizes.
        answers: its outputs.
        text: its text tower.
        token_width: channels of a patch token.
        embedding: channels of a view embedding.
    """

    def __init__(
        self, settings: HeadSettings, answers: Answers, text: TextStates, token_width: int, embedding: int
    ) -> None:
        super().__init__()
        assert isinstance(text, nn.Module)
        width, slots = settings.width, settings.slots
        self.text = text
        self.pool_text = AttentionPooling(text.width, width, slots)
        self.patches = nn.Sequential(
            nn.LayerNorm(token_width),
            nn.Linear(token_width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        self.view = nn.Sequential(nn.LayerNorm(embedding), nn.Linear(embedding, width))
        self.patch_norm = nn.LayerNorm(width)
        self.looks = nn.ModuleList(Look(width) for _ in range(settings.layers))
        self.name_query = nn.Linear(width, width)
        self.point_query = nn.Linear(width, width)
        self.point_place = nn.Linear(width, _PLACE, bias=False)
        self.log_sharpness = nn.Parameter(torch.zeros(()))
        read = _PLACE + _BEARINGS + 2 * sum(_SECTORS)
        self.read = nn.Sequential(nn.Linear(slots * (width + read), width), nn.GELU())
        self.classifier = Classifier(width, 2 * width, settings.dropout, answers)
        self.mass_weight = nn.ParameterDict(
            {name: nn.Parameter(torch.ones(())) for name in answers.classes} if answers.are_directions else {}
        )

    def forward(self, batch: HeadBatch) -> dict[str, Tensor]:
        """Logits of every output."""
        return self.answer(batch, self.embed_patches(batch))

    def embed_patches(self, batch: HeadBatch) -> Tensor:
        """(S, K, C) what each patch is, and what kind of place its view shows."""
        views = self.view(batch.views)  # (S, V, C)
        around = views.gather(1, batch.view_of[..., None].expand(-1, -1, views.shape[-1]))  # (S, K, C)
        return self.patch_norm(self.patches(batch.tokens) + around)

    def answer(self, batch: HeadBatch, patches: Tensor) -> dict[str, Tensor]:
        """Logits from patches that are embedded already."""
        first = self.pool_text(*self.text(batch.texts))  # (B, M, C)
        place, bearings, straight, way = place_codes(batch)
        hidden = ~batch.patch_seen[batch.scene]  # (B, K)
        queries = first
        for look in self.looks:
            queries = look(queries, patches, batch.scene, place, hidden)
        weights = self._point(first, queries, patches, batch, place, hidden)  # (B, M, K)
        sectors = torch.cat([_sectors(angle, n) for angle in (way, straight) for n in _SECTORS], -1)
        found = weights @ torch.cat([place, bearings, sectors], -1)  # (B, M, K) @ (B, K, R) -> (B, M, R)
        joint = self.read(
            torch.cat([queries, found], -1).flatten(1)
        )  # (B, M, C + R) -> (B, M (C + R)) -> (B, C)
        logits = self.classifier(joint)
        start = _PLACE + _BEARINGS
        for name, weight in self.mass_weight.items():
            count = logits[name].shape[1]
            before = sum(n for n in _SECTORS if n < count)
            mass = found[:, 0, start + before : start + before + count]  # (B, count) of the first pointer
            logits[name] = logits[name] + weight * (mass + _LEAST_MASS).log()
        return logits

    def _point(
        self, first: Tensor, queries: Tensor, patches: Tensor, batch: HeadBatch, place: Tensor, hidden: Tensor
    ) -> Tensor:
        """(B, M, K): how much each query points at each patch."""
        wanted = self.name_query(first) + self.point_query(queries)  # (B, M, C)
        scores = wanted @ patches[batch.scene].transpose(1, 2)  # (B, M, C) @ (B, C, K)
        scores = scores * patches.shape[-1] ** -0.5 * self.log_sharpness.exp()
        scores = scores + self.point_place(queries) @ place.transpose(1, 2)
        return scores.masked_fill(hidden[:, None], -1e4).softmax(-1)

    def grounding_loss(self, patches: Tensor, counts: Tensor, names: list[str], weights: Tensor) -> Tensor:
        """How badly patches tell which category they show, asked as the text would ask for it.

        Args:
            patches: (S, K, C) as `embed_patches` gives them.
            counts: (S, K, W) pixels of each category.
            names: W categories.
            weights: (W,) of the categories; frequent ones count less.
        """
        asked = self.name_query(self.pool_text(*self.text(names))[:, 0])  # (W, C)
        rows = patches.flatten(0, 1)  # (S, K, C) -> (S K, C)
        scores = rows @ asked.T * rows.shape[-1] ** -0.5 * self.log_sharpness.exp()  # (S K, W)
        share = counts.flatten(0, 1) * weights  # (S K, W)
        total = share.sum(-1)
        share = share / total.clamp(min=1e-6)[:, None]
        # A patch counts by its rarest content, or walls would be all that is learned.
        importance = (share * weights).sum(-1) * (total > 0)
        loss = -(share * functional.log_softmax(scores, -1)).sum(-1)
        return (loss * importance).sum() / importance.sum().clamp(min=1e-6)


def _sectors(angle: Tensor, count: int) -> Tensor:
    """(B, K) radians to (B, K, count): how much of an angle lies in each direction, softly; sums to 1."""
    middles = torch.arange(count, device=angle.device) * (2 * math.pi / count)
    sharpness = _SHARPNESS if count > 4 else _SHARPNESS / 2
    return (sharpness * (angle[..., None] - middles).cos()).softmax(-1)
