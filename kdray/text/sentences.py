"""Sentences in one language: cleaned like one side of a pair, and chosen for a domain if asked."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np

from kdray.config.monolingual import SentencesConfig
from kdray.config.text import CleaningConfig, FilesCorpusConfig
from kdray.errors import DataError
from kdray.text.cleaning import Drop, fault, pair_digest
from kdray.text.compared import compared
from kdray.text.domain import most_similar
from kdray.text.duplicates import Digests, Seen
from kdray.text.lines import lines_of
from kdray.text.places import files_of

AT_A_TIME = 20_000
UNCHOSEN, UNREAD = "less similar", "unread"


@dataclass(slots=True)
class Cleaned:
    """The sentences of a text that are kept, and what became of all of them.

    held_out: sentences of dev and tests. seen: those that came before; new ones are added.
    """

    config: FilesCorpusConfig
    name: str
    held_out: frozenset[str]
    seen: Seen
    counts: Counter[str] = field(default_factory=Counter)

    def kept(self, folder: Path) -> Iterator[str]:
        """Clean sentences in their order, those that are chosen if some are to be.

        Raises:
            DataError: a file cannot be read, or none is left.
        """
        text = self.config.monolingual[self.name]
        with tempfile.TemporaryDirectory(dir=folder, prefix=".sentences-") as aside:
            spool = Path(aside) / "clean.txt"
            with spool.open("w", encoding="utf-8") as file:
                file.writelines(f"{sentence}\n" for sentence in self._clean(text))
            if text.similar_to is None:
                yield from self._counted(lines_of(spool))
            else:
                in_domain = sentences_in(self.config, text.similar_to.path)
                keep = text.similar_to.keep
                chosen = most_similar(in_domain, lambda: lines_of(spool), keep=keep)
                self.counts[UNCHOSEN] += int((~chosen).sum())
                yield from self._counted(compress(lines_of(spool), chosen.tolist()))
        if not self.counts["kept"]:
            raise DataError(f"{self._place()}: no sentence is left ({self.told()})")

    def told(self) -> str:
        """What became of the sentences, in words."""
        others = {reason: n for reason, n in self.counts.items() if n and reason != "kept"}
        reasons = ", ".join(f"{reason} {n}" for reason, n in others.items()) or "none"
        return f"{self.name}: {self.counts['kept']} sentences kept, left out: {reasons}"

    def _place(self) -> str:
        return f"corpus.monolingual.{self.name}"

    def _counted(self, sentences: Iterable[str]) -> Iterator[str]:
        for sentence in sentences:
            self.counts["kept"] += 1
            yield sentence

    def _clean(self, text: SentencesConfig) -> Iterator[str]:
        rules = self.config.cleaning.model_copy(update={"drop_identical": False})  # it has one side
        every = sentences_in(self.config, text.path)
        for some in batches(islice(every, text.max_sentences)):
            sentences = [sentence.strip() for sentence in some]
            faults = [self._fault(rules, sentence) for sentence in sentences]
            self.counts.update(reason.value for reason in faults if reason is not None)
            good = [s for s, reason in zip(sentences, faults, strict=True) if reason is None]
            ranks = self.seen.ranks(digests_of(good))
            self.counts[Drop.DUPLICATE.value] += int(ranks.sum())
            yield from compress(good, (ranks == 0).tolist())
        self.counts[UNREAD] += sum(1 for _ in every)

    def _fault(self, rules: CleaningConfig, sentence: str) -> Drop | None:
        seen = compared(sentence)
        reason = fault(rules, None, (sentence, sentence), seen, seen)
        if reason is None and rules.drop_overlap and seen in self.held_out:
            return Drop.OVERLAP
        return reason


def sentences_in(config: FilesCorpusConfig, name: str) -> Iterator[str]:
    """The lines of the files that a name stands for."""
    return chain.from_iterable(map(lines_of, files_of(config.folder, name)))


def digests_of(texts: Iterable[str]) -> Digests:
    """By which repetitions of texts are found, as they are compared."""
    return digests_of_pairs((compared(text), "") for text in texts)


def digests_of_pairs(pairs: Iterable[tuple[str, str]]) -> Digests:
    """By which repetitions of pairs are found, as they stand."""
    every = b"".join(pair_digest(src, ref, size=16) for src, ref in pairs)
    return np.frombuffer(every, dtype=np.uint64).reshape(-1, 2)


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Some texts at a time."""
    texts = iter(texts)
    while some := list(islice(texts, AT_A_TIME)):
        yield some
