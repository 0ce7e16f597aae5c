"""Measures of the text alone; docs/complexity.md has the formulas and what they are good for.

A word is what BLEU's tokenizer 13a finds in a line, in lower case: letters between spaces, with
punctuation apart. A Chinese character is a word of its own.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from kdray.measures.aligner import NOTHING, align
from kdray.measures.measure import Absent, below
from kdray.measures.sample import sample
from kdray.schema import Column
from kdray.scoring.metrics import bleu_metric
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit
from kdray.text.pairing import check_pairs, join, pair_hashes, source_hashes
from kdray.text.sequences import Sequences

PAIRS = 20_000
"""How many pairs are looked at, but for counts and repeated sources, which are of all pairs."""
ALIGNED_PAIRS, ALIGNED_CELLS = 1000, 4_000_000
"""How many pairs have to be there for an aligner to learn from, and how many combinations of a
source word with a target word of its sentence are the most that it looks at."""
DRAWS = 1000  # words of the type-token ratio
RARE = 5  # a word that occurs less often is rare
OF_LINKS = ("lexical_entropy", "fertility_mean", "fertility_sd", "unaligned", "monotonicity")

_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def words_of(lines: Sequence[str]) -> list[list[str]]:
    """The words of each line."""
    cut = bleu_metric("13a").tokenizer
    return [cut(_IDEOGRAPH.sub(r" \g<0> ", line)).lower().split() for line in lines]


def text_measures(table: pa.Table, encoded: EncodedSplit) -> dict[str, float | Absent]:
    """Measures of a split of a corpus, which stands in a table and as ids."""
    rows = sample(encoded.pair_ids, PAIRS)
    wanted = encoded.pair_ids[rows]
    chosen = table.take(pa.array(join(wanted, table[Column.PAIR_ID].to_numpy(), what="the corpus")))
    texts = {name: chosen[name].to_pylist() for name in (Column.SRC, Column.REF)}
    hashes = encoded.src_hashes[rows]
    check_pairs(source_hashes(texts[Column.SRC]), hashes, wanted, what="the corpus")
    src, ref = map(words_of, texts.values())
    return {
        "pairs": len(encoded),
        "src/pieces": int(encoded.src.offsets[-1]),
        "ref/pieces": int(encoded.ref.offsets[-1]),
        **below("src", side_measures(src, encoded.src.lengths[rows])),
        **below("ref", side_measures(ref, encoded.ref.lengths[rows])),
        **repeated_sources(encoded.src_hashes, pair_hashes(encoded.src_hashes, encoded.ref)),
        **alignment_measures(src, ref),
    }


def side_measures(sentences: Sequence[Sequence[str]], pieces: Rows) -> dict[str, float | Absent]:
    """Of one language: the words of its sentences, and how many pieces each of these has."""
    counts = np.array(list(Counter(chain.from_iterable(sentences)).values()), dtype=np.int64)
    lengths = {"words": np.array([len(words) for words in sentences]), "pieces": pieces}
    return {
        **{f"{unit}_mean": float(each.mean()) for unit, each in lengths.items()},
        **{f"{unit}_sd": _spread(each) for unit, each in lengths.items()},
        "type_token_ratio": type_token_ratio(counts),
        "rare_words": rare_words(counts),
    }


def type_token_ratio(counts: Rows) -> float | Absent:
    """Expected share of different words among `DRAWS` words that are drawn without replacement.

    HD-D (McCarthy & Jarvis 2007), with more than their 42 draws. counts: of each word in the text.
    """
    total = int(counts.sum())
    if total < DRAWS:
        return Absent(f"the text has {total} words, and {DRAWS} are drawn")
    others = total - counts
    never = np.where(
        others >= DRAWS,
        gammaln(others + 1)
        + gammaln(total - DRAWS + 1)
        - gammaln(np.maximum(others - DRAWS, 0) + 1)
        - gammaln(total + 1),
        -np.inf,
    )
    return float(-np.expm1(never).sum() / DRAWS)


def rare_words(counts: Rows) -> float | Absent:
    """Share of running words whose word occurs less than `RARE` times in the text."""
    total = int(counts.sum())
    if total < DRAWS:
        return Absent(f"the text has {total} words, fewer than {DRAWS}: most would seem to be rare")
    return float(counts[counts < RARE].sum() / total)


def repeated_sources(
    src_hashes: NDArray[np.int64], hashes: NDArray[np.int64]
) -> dict[str, float | Absent]:
    """How many sources occur more than once, and how many different targets those have.

    hashes: of each source with its target.
    """
    _, occurrences = np.unique(src_hashes, return_counts=True)
    _, first = np.unique(hashes, return_index=True)
    _, targets = np.unique(src_hashes[first], return_counts=True)  # as many sources, in that order
    repeated = targets[occurrences > 1]
    if not len(repeated):
        reason = f"no source occurs twice in {len(src_hashes)} pairs"
        return {"repeated_sources": 0, "targets_of_repeated_source": Absent(reason)}
    return {
        "repeated_sources": len(repeated),
        "targets_of_repeated_source": float(repeated.mean()),
    }


def alignment_measures(
    src: Sequence[Sequence[str]], ref: Sequence[Sequence[str]]
) -> dict[str, float | Absent]:
    """What word alignments tell: how words are translated, and in which order."""
    pairs = [pair for pair in zip(src, ref, strict=True) if all(pair)]
    cells = np.cumsum([len(one) * len(other) for one, other in pairs])
    pairs = pairs[: int(np.searchsorted(cells, ALIGNED_CELLS, side="right"))]
    if len(pairs) < ALIGNED_PAIRS:
        few = f"{len(pairs)} pairs can be aligned, and an aligner learns from {ALIGNED_PAIRS}"
        return {"aligned_pairs": len(pairs), **dict.fromkeys(OF_LINKS, Absent(few))}
    sources, targets = (_ids([pair[side] for pair in pairs]) for side in (0, 1))
    places = align(sources, targets)
    return {"aligned_pairs": len(pairs), **link_measures(sources, targets, places)}


def link_measures(src: Sequences, tgt: Sequences, places: Rows) -> dict[str, float | Absent]:
    """Of alignments, which `align` describes.

    lexical_entropy: H(target word | source word) of the linked words, in nats. fertility:
    number of target words of a source word. unaligned: share of source words without any.
    monotonicity: share of two linked target words with different sources whose sources stand in the
    same order, 1 − the distance of Kendall (Birch, Osborne & Blunsom 2010); mean over sentences.
    """
    is_linked = places != NOTHING
    sentences = np.repeat(np.arange(len(tgt)), tgt.lengths)
    at = src.offsets[sentences[is_linked]] + places[is_linked]
    fertility = np.bincount(at, minlength=len(src.values))
    in_order = [
        share
        for row in range(len(tgt))
        if (share := _in_order(places[tgt.offsets[row] : tgt.offsets[row + 1]])) is not None
    ]
    return {
        "lexical_entropy": conditional_entropy(src.values[at], tgt.values[is_linked]),
        "fertility_mean": float(fertility.mean()),
        "fertility_sd": float(fertility.std()),
        "unaligned": float((fertility == 0).mean()),
        "monotonicity": float(np.mean(in_order))
        if in_order
        else Absent("no sentence has two linked words with different sources"),
    }


def conditional_entropy(given: Rows, values: Rows) -> float | Absent:
    """H(value | given) of the pairs that were counted, in nats."""
    if not len(given):
        return Absent("no word is linked")
    _, joint = np.unique(given * (int(values.max()) + 1) + values, return_counts=True)
    _, alone = np.unique(given, return_counts=True)
    return float((xlogy(alone, alone).sum() - xlogy(joint, joint).sum()) / len(given))


def _in_order(places: Rows) -> float | None:
    linked = places[places != NOTHING]
    later, earlier = np.tril_indices(len(linked), -1)
    signs = np.sign(linked[later] - linked[earlier])
    decided = np.count_nonzero(signs)
    return None if not decided else float((signs > 0).sum() / decided)


def _ids(sentences: Sequence[Sequence[str]]) -> Sequences:
    """Words as numbers, in the order of their first occurrence."""
    numbers: dict[str, int] = {}
    return Sequences.from_lists(
        [[numbers.setdefault(word, len(numbers)) for word in words] for words in sentences]
    )


def _spread(values: NDArray[Any]) -> float | Absent:
    if len(values) < 2:
        return Absent(f"the text has {len(values)} pair, and a spread needs 2")
    return float(values.std(ddof=1))
