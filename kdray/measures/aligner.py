"""Which source word each target word translates: a hidden Markov model of word alignment.

After Vogel, Ney & Tillmann (1996), with the empty word of Och & Ney (2003, section 2.1): a target
word comes from the source word at place i with probability t(word | i), and the place jumps from
i' to i with a probability that depends on i − i' alone. The first rounds, in which all jumps are
alike, are IBM model 1 (Brown et al. 1993). Sums run over the same cells in the same order, so
equal text is aligned equally.

Shapes: B sentences, S source words, T target words, E entries of the table t. Entry 0 stands
behind the ends of sentences and has probability 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdray.text.batching import Rows
from kdray.text.sequences import Sequences

NOTHING = -1
_ROUNDS = (False,) * 5 + (True,) * 5  # whether jumps are learnt
_EMPTY = 0.1  # share of target words that come from no source word

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class _Group:
    """Sentences with equally many source words; entries of the empty word, then of each of them."""

    rows: Rows
    entries_BTS: Rows
    is_word_BT: NDArray[np.bool_]


def align(src: Sequences, tgt: Sequences) -> Rows:
    """The place of the source word that each target word translates, or `NOTHING`.

    Every sentence has words on both sides, as ids from 0. -> [target words], as in `tgt.values`.
    """
    groups, source_E = _groups(src, tgt)
    longest = int(src.lengths.max())
    table_E, jumps = np.ones(len(source_E)), np.ones(2 * longest - 1)
    places = np.empty(len(tgt.values), dtype=np.int64)
    for learns_jumps in _ROUNDS:
        counts_E, counted_jumps = np.zeros(len(table_E)), np.ones(len(jumps))
        for group in groups:
            at = np.arange(group.entries_BTS.shape[2] - 1)
            moves = at[None, :] - at[:, None] + longest - 1
            chances = jumps[moves] / jumps[moves].sum(1, keepdims=True)
            posterior_BTS, jumped = _expected(table_E[group.entries_BTS], chances, group.is_word_BT)
            flat = group.entries_BTS.ravel(), posterior_BTS.ravel()
            counts_E += np.bincount(*flat, minlength=len(counts_E))
            counted_jumps += np.bincount(moves.ravel(), jumped.ravel(), minlength=len(jumps))
            best = posterior_BTS.argmax(2)[group.is_word_BT]
            places[tgt.places(group.rows)] = best - 1  # the empty word is the first: NOTHING
        counts_E[0] = 1.0  # whose source is no other entry's, so it keeps its probability
        table_E = counts_E / np.bincount(source_E, counts_E)[source_E]
        jumps = counted_jumps if learns_jumps else jumps
    return places


def _groups(src: Sequences, tgt: Sequences) -> tuple[list[_Group], Rows]:
    """All sentences, and for each entry of the table a number that stands for its source word."""
    words = int(tgt.values.max()) + 1
    parts, keys = [], [np.array([-1])]
    for length in np.unique(src.lengths):
        rows = np.flatnonzero(src.lengths == length)
        src_BS = np.pad(src.padded(rows, pad=0) + 1, ((0, 0), (1, 0)))  # the empty word is 0
        tgt_BT = tgt.padded(rows, pad=NOTHING)
        is_word_BT = tgt_BT != NOTHING
        of_group = src_BS[:, None, :] * words + tgt_BT[:, :, None]
        of_group[~is_word_BT] = -1
        parts.append((rows, of_group.shape, is_word_BT))
        keys.append(of_group.ravel())
    unique, entries = np.unique(np.concatenate(keys), return_inverse=True)
    each = np.split(entries[1:], np.cumsum([len(of_group) for of_group in keys[1:]])[:-1])
    groups = [
        _Group(rows, own.reshape(shape), is_word)
        for (rows, shape, is_word), own in zip(parts, each, strict=True)
    ]
    return groups, unique // words + 1


def _expected(
    table_BTS: Floats, chances_SS: Floats, is_word_BT: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """How likely each target word comes from each source word, and how often places jump (S, S).

    By the forward and the backward pass (Rabiner 1989, section V.A), scaled at each target word.
    """
    real_BTS, empty_BT1 = table_BTS[:, :, 1:] * (1 - _EMPTY), table_BTS[:, :, :1] * _EMPTY
    batch, length, width = real_BTS.shape
    at_TBS = np.full((length + 1, batch, width), 1 / width)  # after so many target words
    came_TBS = np.full((length, batch, width), 1 / width)
    scale_TB1 = np.empty((length, batch, 1))
    for t in range(length):
        if t:
            came_TBS[t] = at_TBS[t] @ chances_SS
        at_TBS[t + 1] = came_TBS[t] * real_BTS[:, t] + at_TBS[t] * empty_BT1[:, t]
        scale_TB1[t] = at_TBS[t + 1].sum(1, keepdims=True)
        at_TBS[t + 1] /= scale_TB1[t]
    posterior_BTS, jumped_SS = np.empty_like(table_BTS), np.zeros_like(chances_SS)
    after_BS = np.ones((batch, width))
    for t in reversed(range(length)):
        real_BS, empty_B1 = real_BTS[:, t] * after_BS / scale_TB1[t], empty_BT1[:, t] / scale_TB1[t]
        posterior_BTS[:, t, 1:] = came_TBS[t] * real_BS
        posterior_BTS[:, t, 0] = (at_TBS[t] * after_BS * empty_B1).sum(1)
        if t:
            jumped_SS += at_TBS[t].T @ (real_BS * is_word_BT[:, t, None])
        after_BS = real_BS @ chances_SS.T + after_BS * empty_B1
    return posterior_BTS, jumped_SS * chances_SS
