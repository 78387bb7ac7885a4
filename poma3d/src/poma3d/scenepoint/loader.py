"""Batches without end, from a position that can be saved and gone back to exactly.

The position is the number of scenes that the batches *delivered* so far drew; what worker processes have prepared
ahead does not count and is drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler

from poma3d.errors import SettingError
from poma3d.scenepoint.batch import SceneBatch, collate
from poma3d.scenepoint.dataset import ScenePointDataset
from poma3d.scenepoint.order import Draw, DrawOrder


class SceneLoader:
    """An endless iterable of `SceneBatch`.

    Batch k of all ranks together are draws ``k * G`` to ``(k + 1) * G - 1`` with G = ``ranks * batch_size``, rank r
    taking the r-th piece: two ranks see the scenes that one rank with a batch twice as large would see.

    Args:
        dataset: the scenes.
        batch_size: scenes a batch and rank, B.
        seed: of order, views, captions and augmentation.
        workers: processes that prepare batches; 0 prepares them in this one.
        rank: which of the ``ranks`` this process is.
        ranks: processes that train together.
        mix: ``equal`` or ``proportional``, as `DrawOrder`.
        pin_memory: copy batches to page-locked memory, for GPUs.

    Raises:
        SettingError: a number out of its range.
    """

    def __init__(
        self,
        dataset: ScenePointDataset,
        batch_size: int,
        *,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        ranks: int = 1,
        mix: str = "equal",
        pin_memory: bool = False,
    ) -> None:
        if batch_size < 1 or workers < 0:
            raise SettingError(f"batch_size must be at least 1 and workers 0, found {batch_size}, {workers}")
        if not 0 <= rank < ranks:
            raise SettingError(f"rank must lie in 0..ranks - 1, found rank {rank} of {ranks}")
        self.dataset, self.batch_size = dataset, batch_size
        self.order = DrawOrder(dataset.sources, seed=seed, mix=mix)
        self.rank, self.ranks = rank, ranks
        self._workers, self._pin_memory = workers, pin_memory
        self._fingerprint = dataset.fingerprint()
        self._batches = 0

    @property
    def global_batch(self) -> int:
        """Scenes of one batch over all ranks, G."""
        return self.batch_size * self.ranks

    @property
    def batches_per_epoch(self) -> int:
        """Batches after which as many scenes were drawn as there are, the last batch counted whole."""
        return -(-len(self.dataset) // self.global_batch)

    def __iter__(self) -> Iterator[SceneBatch]:
        """Batches from the position on, without end."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=_Batches(self, self._batches),
            num_workers=self._workers,
            collate_fn=collate,
            pin_memory=self._pin_memory,
        )
        for batch in loader:
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The position: after the batches delivered so far. Plain values, for JSON or torch."""
        return {
            "draws": self._batches * self.global_batch,
            "seed": self.order.seed,
            "mix": self.order.mix,
            "scenes": self._fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position; iterators made before stay where they are.

        Raises:
            SettingError: it was saved with another seed, mix or other scenes, or falls between two batches.
        """
        own = self.state_dict()
        for name in ("seed", "mix", "scenes"):
            if state.get(name) != own[name]:
                raise SettingError(
                    f"the position was saved with {name} {state.get(name)!r}, this loader has {own[name]!r}:"
                    " resuming would not go on with the same batches"
                )
        batches, rest = divmod(int(state["draws"]), self.global_batch)
        if rest:
            raise SettingError(
                f"the position after {state['draws']} scenes falls inside a batch of {self.global_batch}:"
                " resume with a global batch that divides it"
            )
        self._batches = batches

    def draws(self, batch: int) -> list[Draw]:
        """What this rank draws for batch ``batch``."""
        first = batch * self.global_batch + self.rank * self.batch_size
        return [self.order.draw(number) for number in range(first, first + self.batch_size)]


class _Batches(Sampler):
    """The draws of batch after batch, for torch's loader."""

    def __init__(self, loader: SceneLoader, first: int) -> None:
        self._loader, self._first = loader, first

    def __iter__(self) -> Iterator[list[Draw]]:
        batch = self._first
        while True:
            yield self._loader.draws(batch)
            batch += 1
