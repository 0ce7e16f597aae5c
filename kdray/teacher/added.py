"""The step that adds text in one language to a corpus, with translations where it needs some."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from kdray.artifacts import Fetch, Key
from kdray.config.text import FilesCorpusConfig
from kdray.jobs import Counts
from kdray.storage.hashed import Hashed
from kdray.teacher.hypotheses import Hypotheses
from kdray.text.added import (
    Translate,
    added_key,
    build_added,
    hashed_texts,
    text_files,
    untranslated,
)


@dataclass(frozen=True, slots=True)
class AddedJob:
    """A corpus with further training text. What it makes is a corpus too.

    translations: of sources in the target language, their sentences and what a model says of them.
    """

    config: FilesCorpusConfig
    corpus: Key
    translations: Mapping[str, tuple[Key, Key]]
    key: Key
    files: Hashed = field(repr=False, compare=False)
    is_light: ClassVar[bool] = True

    @classmethod
    def of(
        cls, config: FilesCorpusConfig, corpus: Key, translations: Mapping[str, tuple[Key, Key]]
    ) -> Self:
        """Checksums of its files stand for the files.

        Raises:
            DataError: a file is missing.
        """
        files = hashed_texts(config, untranslated(config, translations))
        key = added_key(config, corpus, translations, files)
        return cls(config, corpus, translations, key, files)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus, sentences and their translations."""
        return (self.corpus, *(key for keys in self.translations.values() for key in keys))

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_added`."""
        translated = {
            name: (fetch(sentences), _translate(fetch(hypotheses)))
            for name, (sentences, hypotheses) in self.translations.items()
        }
        counts = build_added(self.config, fetch(self.corpus), translated, folder)
        names = untranslated(self.config, self.translations)
        self.files.prove(path for n in names for path in text_files(self.config, n).values())
        return counts


def _translate(folder: Path) -> Translate:
    """Looks up the best translation of sentences; see `Translate`. In quarantine, there is none."""
    hyps = Hypotheses.load(folder)
    order = np.argsort(hyps.pair_ids)
    ordered = hyps.pair_ids[order]

    def translate(pair_ids: NDArray[np.int64]) -> list[str | None]:
        if not len(ordered):
            return [""] * len(pair_ids)
        places = np.minimum(np.searchsorted(ordered, pair_ids), len(ordered) - 1)
        texts, ended = hyps.texts(order[places]), hyps.finished[order[places]]
        has_one = ordered[places] == pair_ids
        rows = zip(texts, has_one, ended, strict=True)
        return [(text if whole else None) if found else "" for text, found, whole in rows]

    return translate
