"""What a training pair alone decides: its text as it is stored, its faults, its names and hashes.

A block of pairs is judged by itself, in any process. What depends on other pairs, which are
duplicates and where a limit falls, is settled later, in the order of the blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kdray.config.text import CleaningConfig
from kdray.text.cleaning import Drop, HeldOut, Pair, fault, pair_digest
from kdray.text.compared import compared, script
from kdray.text.duplicates import Digests

BLOCK_PAIRS = 20_000
REASONS = tuple(Drop)
SOUND = 255
"""In place of a reason: the pair has no fault."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some training pairs, which stand one after another, as they were read.

    Attributes:
        first_line: number of the line of the first one.
        source: name of their source in a mixture, else empty.
        file: which the lines are of, where there are several, else empty.
        entropies: of each reference in nats, where they are known.
        unread: pairs behind these that the cap of their source leaves out.
    """

    pairs: Sequence[Pair]
    first_line: int
    source: str = ""
    file: str = ""
    entropies: Sequence[float] = ()
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A block with what its pairs alone decide. F of its pairs have no fault.

    Attributes:
        block: with stripped sides.
        faults: place of each pair's reason in `REASONS`, or SOUND.
        scripts: of both sides of each pair.
        ids: pair_ids of those without fault, if none of them is a repetition. [F]
        digests: by which repetitions are found. [F, 2]
        words: on both sides. [F, 2]
        matches: rows that have something in common with dev or test, and its number in HeldOut.
    """

    block: Block
    faults: NDArray[np.uint8]
    scripts: Sequence[str]
    ids: NDArray[np.int64]
    digests: Digests
    words: NDArray[np.int64]
    matches: Sequence[tuple[int, int]] = field(default=())


def pair_id(src: str, ref: str, *, occurrence: int = 0) -> int:
    """The key of a pair, 0 <= id < 2**63: a hash of its text and of `occurrence`.

    `occurrence` is the number of equal pairs before it in the split.
    """
    return int.from_bytes(pair_digest(src, ref, size=8, occurrence=occurrence)) >> 1


def judge(block: Block, config: CleaningConfig, held_out: HeldOut) -> Judged:
    """Judge each pair of a block by itself."""
    pairs = [(src.strip(), ref.strip()) for src, ref in block.pairs]
    faults = np.full(len(pairs), SOUND, dtype=np.uint8)
    scripts, matches, ids, digests, words = [], [], [], [], []
    places: dict[Drop, int] = {reason: place for place, reason in enumerate(REASONS)}
    for row, raw in enumerate(pairs):
        src, ref = compared(raw[0]), compared(raw[1])
        scripts.append(f"{script(raw[0])}-{script(raw[1])}")
        matches += [(row, number) for number in held_out.matches(src, ref)]
        if (reason := fault(config, held_out, raw, src, ref)) is not None:
            faults[row] = places[reason]
            continue
        ids.append(pair_id(*raw))
        named = (src, ref) if config.drop_duplicates else raw
        digests.append(pair_digest(*named, size=16))
        words += [len(raw[0].split()), len(raw[1].split())]
    return Judged(
        block=Block(
            pairs, block.first_line, block.source, block.file, block.entropies, block.unread
        ),
        faults=faults,
        scripts=scripts,
        ids=np.array(ids, dtype=np.int64),
        digests=np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2),
        words=np.array(words, dtype=np.int64).reshape(-1, 2),
        matches=matches,
    )
