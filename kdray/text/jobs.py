"""The steps that make text ready: corpus, tokenizer, ids. Light enough for the driver."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from kdray.artifacts import Fetch, Key, Source
from kdray.config.text import CorpusConfig, TokenizerConfig
from kdray.jobs import Counts
from kdray.text.corpus import build_corpus
from kdray.text.encoded import build_encoded
from kdray.text.tokenizer import Tokenizer, build_tokenizer


@dataclass(frozen=True, slots=True)
class CorpusJob:
    """Read or generate the corpus, and clean it."""

    config: CorpusConfig
    is_light: ClassVar[bool] = True

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_corpus`."""
        return build_corpus(self.config, folder)


@dataclass(frozen=True, slots=True)
class TokenizerJob:
    """Train the tokenizer on a corpus."""

    config: TokenizerConfig
    corpus: Key
    is_light: ClassVar[bool] = True

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_tokenizer`."""
        return build_tokenizer(self.config, fetch(self.corpus), folder)


@dataclass(frozen=True, slots=True)
class EncodingJob:
    """Turn a corpus into ids."""

    corpus: Key
    tokenizer: Source
    is_light: ClassVar[bool] = True

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_encoded`."""
        return build_encoded(fetch(self.corpus), Tokenizer.load(fetch(self.tokenizer)), folder)
