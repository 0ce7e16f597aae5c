"""Measures of what a teacher makes of text; docs/complexity.md has the formulas.

All are of logarithms to the base e (nats), so an entropy of a token is at most log V.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdray.measures.measure import Absent, Measures
from kdray.teacher.engine import Translation
from kdray.teacher.references import Sums
from kdray.text.batching import Rows

READ_PAIRS, SEARCHED_PAIRS = 1000, 200
"""Of each split: how many pairs the teacher reads, and how many sources it translates."""
BEAM = 8  # and as many translations, without a length penalty: their order is that of p(y | x)
OF_READING = tuple(
    f"{what}_per_{unit}" for what in ("entropy", "loss") for unit in ("token", "word", "sentence")
)
OF_SEARCH = ("beam_entropy", "beam_margin", "beam_mass")


def reading_measures(
    entropy: Sums, loss: Sums, tokens: Rows, words: Rows
) -> dict[str, float | Absent]:
    """Means over the tokens, the words and the sentences of references that were read."""
    if not len(tokens):
        return dict.fromkeys(OF_READING, Absent("the teacher can read none of these pairs"))
    units = {"token": tokens.sum(), "word": words.sum(), "sentence": len(tokens)}
    return {
        f"{what}_per_{unit}": float(sums.sum() / number)
        for what, sums in (("entropy", entropy), ("loss", loss))
        for unit, number in units.items()
    }


def search_measures(translations: Sequence[Sequence[Translation]]) -> Measures:
    """Of the n best translations of each source: how undecided the teacher is between them.

    beam_entropy: of their probabilities, made to sum to one. beam_margin: by how much the
    log-probability of the best one exceeds that of the second. beam_mass: their probabilities
    together. Different pieces of the same text are one translation; what did not end is none.
    """
    rows = [logp for best in translations if len(logp := _log_probs(best)) > 1]
    if not rows:
        reason = "the teacher ended two different translations of no source"
        return dict.fromkeys(OF_SEARCH, Absent(reason))
    measured: dict[str, list[float]] = {name: [] for name in OF_SEARCH}
    for logp in rows:
        mass = np.logaddexp.reduce(logp)
        share = logp - mass
        measured["beam_entropy"].append(-float((np.exp(share) * share).sum()))
        measured["beam_margin"].append(float(logp[0] - logp[1]))
        measured["beam_mass"].append(float(np.exp(mass)))
    return {name: float(np.mean(values)) for name, values in measured.items()}


def _log_probs(best: Sequence[Translation]) -> NDArray[Any]:
    """Log-probabilities of the different texts, largest first."""
    by_text: dict[str, float] = {}
    for each in best:
        if each.finished:
            known = by_text.get(each.text, -np.inf)
            by_text[each.text] = float(np.logaddexp(known, each.score))
    return np.sort(np.array(list(by_text.values())))[::-1]
