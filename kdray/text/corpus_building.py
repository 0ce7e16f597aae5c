"""Makes a corpus: reads its sources, cleans the training text, gives each row its `pair_id`.

Training text is streamed; dev and test, and a digest of each training pair, are held in memory.
Imports neither torch nor ray.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdray.artifacts import Key
from kdray.config.sources import Mixture, PairSource
from kdray.config.text import CorpusConfig, FilesCorpusConfig, GeneratedCorpusConfig
from kdray.errors import DataError
from kdray.jobs import NOTES
from kdray.schema import Split
from kdray.storage.hashed import Hashed
from kdray.text.cleaning import HeldOut
from kdray.text.corpus import TEST_PREFIX
from kdray.text.grammar import generate_pairs
from kdray.text.held_out import Stream, Totals, write_held_out
from kdray.text.judging import BLOCK_PAIRS, Block
from kdray.text.parts import Part, parts_of
from kdray.text.preparation import blocks_of, prepare, record, train_counts
from kdray.text.readers import read_part
from kdray.text.settling import Tally

logger = logging.getLogger(__name__)

VERSION = 2

_NAMES = {"src", "tgt", "path"}  # fields of a source that the content does not depend on


def corpus_key(config: CorpusConfig) -> Key:
    """Identity of a corpus: how it is read and cleaned, and the content of its files.

    Noise is no part of it: the noisy training text is made from the clean corpus. Nor is the
    licence of the text.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    return hashed_corpus(config)[0]


def corpus_files(config: CorpusConfig) -> dict[str, Path]:
    """The files of a corpus as they are now, by what they are in it; none, if it is generated.

    Raises:
        DataError: one is missing.
    """
    if isinstance(config, GeneratedCorpusConfig):
        return {}
    return {
        f"{split}.{number}": path
        for split, source in _sources(config).items()
        for number, path in enumerate(_files(parts_of(source, config.folder)))
    }


def hashed_corpus(config: CorpusConfig) -> tuple[Key, Hashed]:
    """Its identity, and its files as they were when they were hashed; see `corpus_key`."""
    if isinstance(config, GeneratedCorpusConfig):
        return Key("corpus", VERSION, config.model_dump(mode="json", exclude={"noise"})), Hashed()
    names: dict[str, Any] = dict.fromkeys(_NAMES, True)
    train = {**names, "sources": {"__all__": _NAMES}}
    places: Any = {"folder": True, "train": train, "dev": _NAMES, "tests": {"__all__": _NAMES}}
    others = dict.fromkeys(("noise", "monolingual", "licence"), True)
    recipe = config.model_dump(mode="json", exclude=places | others)
    named = corpus_files(config)
    files = Hashed.of(named.values())
    checksums = {name: files.sha256(path) for name, path in named.items()}
    return Key("corpus", VERSION, recipe, checksums), files


def build_corpus(config: CorpusConfig, folder: Path) -> dict[str, Any]:
    """Write the tables of a corpus into `folder`. -> counts for its record.

    `pairs` and `mean_words`: of each split. `train_read`: training pairs that cleaning has judged.
    `drops`: how many of these it dropped, by reason; `by_script`: the same for the scripts of both
    sides; `notes`: what that costs, in words. `train_unread`: pairs after the last one that
    `max_train_pairs` or a cap admits. `sources`: kept pairs of each source of a mixture. `overlap`:
    of each dev and test set with the judged pairs, and `overlap_kept`: with those that were kept
    (see HeldOut.overlap). `true_entropy_per_sentence` and `true_entropy_per_word`: the mean of
    H(ref | src) in nats, only for a generated corpus.

    Raises:
        DataError: a source cannot be read, a side of a dev or test pair is empty, or a split has
            no pairs.
    """
    held_out, totals = build_held_out(config, folder)
    if isinstance(config, GeneratedCorpusConfig):
        place, blocks, limit = f"generated {Split.TRAIN}", _generated_blocks(config), None
    else:
        parts = train_parts(config)
        place, limit = place_of(parts), config.max_train_pairs
        blocks = blocks_of(parts, names_files=names_files(parts))
    tally, ids = prepare(blocks, config.cleaning, held_out, folder, limit=limit)
    prove_unique(ids, Split.TRAIN)
    return corpus_counts(config, held_out, totals, tally, place=f"{Split.TRAIN} ({place})")


def build_held_out(config: CorpusConfig, folder: Path) -> tuple[HeldOut, dict[str, Totals]]:
    """Write the tables of dev and test sets. -> them for comparison, totals of each.

    Raises:
        DataError: one cannot be read, has no pairs, or one with an empty side.
    """
    pairs, totals = {}, {}
    for stream in _held_out_streams(config):
        pairs[stream.split], ids, totals[stream.split] = write_held_out(stream, folder)
        prove_unique(np.array(ids, dtype=np.int64), stream.split)
    return HeldOut(pairs), totals


def read_held_out(config: FilesCorpusConfig) -> HeldOut:
    """Dev and test sets for comparison, without a table."""
    streams = _held_out_streams(config)
    return HeldOut({stream.split: [pair for pair, _ in stream.pairs()] for stream in streams})


def corpus_counts(
    config: CorpusConfig,
    held_out: HeldOut,
    totals: Mapping[str, Totals],
    tally: Tally,
    *,
    place: str,
) -> dict[str, Any]:
    """What the record of a corpus says; see `build_corpus`."""
    record(held_out, tally)
    train = config.train if isinstance(config, FilesCorpusConfig) else None
    sources = tuple(train.sources) if isinstance(train, Mixture) else ()
    of_train = train_counts(tally, sources, place=place)
    words = (tally.words[0], tally.words[1])
    every = {**totals, Split.TRAIN.value: Totals(tally.kept.total(), words, tally.entropy)}
    summary = ", ".join(f"{why} {n}" for why, n in tally.drops.items() if n) or "none"
    logger.info("train: %d of %d pairs kept, dropped: %s", tally.kept.total(), tally.read, summary)
    counts: dict[str, Any] = {
        "pairs": {split: each.pairs for split, each in every.items()},
        "mean_words": {split: each.mean_words() for split, each in every.items()},
        **of_train,
        NOTES: [*of_train[NOTES], *held_out.seen_by_choice()],
        "overlap": held_out.overlap(kept=False),
        "overlap_kept": held_out.overlap(kept=True),
    }
    if isinstance(config, GeneratedCorpusConfig):
        counts |= {
            "true_entropy_per_sentence": {s: t.entropy / t.pairs for s, t in every.items()},
            "true_entropy_per_word": {s: t.entropy / t.words[1] for s, t in every.items()},
        }
    return counts


def prove_unique(ids: NDArray[np.int64], split: str) -> None:
    """Raise DataError if two rows of a split have the same id."""
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        rows = np.flatnonzero(ids == twice[0]) + 1
        raise DataError(
            f"{split}: the different pairs in rows {', '.join(map(str, rows))} of its table have "
            f"the same pair_id {twice[0]}; remove one of them from the source"
        )


def train_parts(config: FilesCorpusConfig) -> tuple[Part, ...]:
    """The parts of the training text."""
    return parts_of(config.train, config.folder)


def names_files(parts: tuple[Part, ...]) -> bool:
    """Whether a line number says little without the name of its file."""
    return len(parts) > 1


def place_of(parts: tuple[Part, ...]) -> str:
    """What messages call a source."""
    return parts[0].place if len(parts) == 1 else f"{parts[0].place} and {len(parts) - 1} more"


def _files(parts: tuple[Part, ...]) -> Iterator[Path]:
    return chain.from_iterable(part.files for part in parts)


def _sources(config: FilesCorpusConfig) -> dict[str, PairSource | Mixture]:
    """Of each split, in the order in which they are read."""
    tests = {f"{TEST_PREFIX}{name}": source for name, source in config.tests.items()}
    return {**tests, Split.DEV.value: config.dev, Split.TRAIN.value: config.train}


def _held_out_streams(config: CorpusConfig) -> Iterator[Stream]:
    if isinstance(config, GeneratedCorpusConfig):
        for split, generated in generate_pairs(config).items():
            if split != Split.TRAIN:
                rows = ((each.src, each.ref, each.entropy) for each in generated)
                yield Stream(split, f"generated {split}", rows)
        return
    for split, source in _sources(config).items():
        if split != Split.TRAIN:
            parts = parts_of(source, config.folder)
            pairs = chain.from_iterable(map(read_part, parts))
            rows = ((src, ref, 0.0) for src, ref in pairs)
            yield Stream(split, f"{split} ({place_of(parts)})", rows, parts[0].first_line)


def _generated_blocks(config: GeneratedCorpusConfig) -> Iterator[Block]:
    pairs, line = iter(generate_pairs(config)[Split.TRAIN]), 1
    while some := list(islice(pairs, BLOCK_PAIRS)):
        entropies = [each.entropy for each in some]
        yield Block([(each.src, each.ref) for each in some], line, entropies=entropies)
        line += len(some)
