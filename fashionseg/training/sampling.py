"""Which photo is learnt from when: a sampler that can start in the middle.

Knows the order of photos and batches, which is a function of the seed alone, so that a resumed run continues
with the very photos an uninterrupted one would have seen. Knows nothing about pixels or models.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from detectron2.data.build import filter_images_with_only_crowd_annotations
from detectron2.data.samplers import RepeatFactorTrainingSampler, TrainingSampler
from detectron2.utils import comm
from torch.utils.data import Dataset, Sampler

from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class ResumableSampler(Sampler[tuple[int, int]]):
    """Endless (photo index, position in the stream), beginning at any batch; photos of like shape together.

    Wraps one of Detectron2's endless samplers. Batches are formed here as its `AspectRatioGroupedDataset` forms
    them (upright and lying photos apart), because a grouping that happens after loading cannot be resumed without
    loading everything again.
    """

    def __init__(self, source: Sampler[int], lying: list[bool] | None, batch_size: int, start_batch: int = 0) -> None:
        """Args:
        source: endless sampler of photo indices, different on each rank.
        lying: for each photo, whether it is wider than high; None leaves the order as it is.
        batch_size: photos a batch on this rank.
        start_batch: number of batches to leave out.
        """
        super().__init__()
        self._source, self._lying = source, lying
        self._batch_size, self._start = batch_size, start_batch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        batches = itertools.islice(self._batches(), self._start, None)
        return itertools.chain.from_iterable(batches)

    def _batches(self) -> Iterator[list[tuple[int, int]]]:
        buckets: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
        for position, index in enumerate(self._source):
            key = self._lying[index] if self._lying else False
            buckets[key].append((int(index), position))
            if len(buckets[key]) == self._batch_size:
                yield buckets[key]
                buckets[key] = []


class SeededSamples(Dataset["dict[str, Any] | DataError"]):
    """Photos as the model takes them, for (index, position) of a `ResumableSampler`.

    A photo that cannot be used becomes its error instead, for `CheckedBatches` to raise: what a loader's process
    raises, torch turns into a traceback as text.
    """

    def __init__(self, records: list[dict[str, Any]], mapper: Callable[[dict[str, Any], int], dict[str, Any]]) -> None:
        self._records, self._mapper = records, mapper

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any] | DataError:
        index, position = key
        try:
            return self._mapper(self._records[index], position)
        except DataError as error:
            return error


class CheckedBatches:
    """The batches of a loader; an error that stands in the place of a photo is raised here."""

    def __init__(self, loader: Iterable[list[Any]]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        """Batches, where the loader has an end; TypeError where it goes on for ever."""
        return len(self._loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        return map(_checked, self._loader)  # no generator: the loader starts when it is asked for its iterator


def _checked(batch: list[Any]) -> list[dict[str, Any]]:
    for sample in batch:
        if isinstance(sample, DataError):
            raise sample
    return batch


def learnable(cfg: Any, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The photos to learn garments from: `DATALOADER.FILTER_EMPTY_ANNOTATIONS` leaves out those without any."""
    if not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        return records
    kept: list[dict[str, Any]] = filter_images_with_only_crowd_annotations(records)
    return kept


def endless_sampler(cfg: Any, records: list[dict[str, Any]]) -> Sampler[int]:
    """Detectron2's sampler that `DATALOADER.SAMPLER_TRAIN` names, seeded by `SEED`."""
    if cfg.DATALOADER.SAMPLER_TRAIN == "RepeatFactorTrainingSampler":
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            records, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
        )
        return RepeatFactorTrainingSampler(factors, seed=cfg.SEED)
    return TrainingSampler(len(records), seed=cfg.SEED)


def batch_size_per_worker(photos_per_step: int) -> int:
    """Photos a step on each GPU; the config is checked to divide evenly."""
    return int(photos_per_step // comm.get_world_size())
