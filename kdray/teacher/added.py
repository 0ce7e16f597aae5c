"""The step that adds text in one language to a corpus, with translations where it needs some."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from kdray.artifacts import Fetch, Key
from kdray.config.text import FilesCorpusConfig
from kdray.jobs import Counts
from kdray.teacher.hypotheses import Hypotheses
from kdray.text.added import added_key, build_added


@dataclass(frozen=True, slots=True)
class AddedJob:
    """A corpus with further training text. What it makes is a corpus too.

    translations: of sources in the target language, their sentences and what a model says of them.
    """

    config: FilesCorpusConfig
    corpus: Key
    translations: Mapping[str, tuple[Key, Key]]
    key: Key
    is_light: ClassVar[bool] = True

    @classmethod
    def of(
        cls, config: FilesCorpusConfig, corpus: Key, translations: Mapping[str, tuple[Key, Key]]
    ) -> Self:
        """Checksums of its files stand for the files.

        Raises:
            DataError: a file is missing.
        """
        return cls(config, corpus, translations, added_key(config, corpus, translations))

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus, sentences and their translations."""
        return (self.corpus, *(key for keys in self.translations.values() for key in keys))

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_added`."""
        translated = {
            name: (fetch(sentences), _by_pair(fetch(hypotheses)))
            for name, (sentences, hypotheses) in self.translations.items()
        }
        return build_added(self.config, fetch(self.corpus), translated, folder)


def _by_pair(folder: Path) -> dict[int, str]:
    """The best translation of each sentence."""
    hyps = Hypotheses.load(folder)
    texts = hyps.texts(np.arange(len(hyps.pair_ids)))
    return dict(zip(hyps.pair_ids.tolist(), texts, strict=True))
