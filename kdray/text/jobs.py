"""The steps that make text ready: corpus, noise, tokenizer, ids. Light enough for the driver."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from kdray.artifacts import Brought, Fetch, Key, Source, keys_among
from kdray.config.text import (
    CorpusConfig,
    FilesCorpusConfig,
    GeneratedCorpusConfig,
    NoiseConfig,
    TokenizerConfig,
)
from kdray.errors import DataError
from kdray.jobs import Counts, Phase
from kdray.storage.hashed import Hashed
from kdray.text.added import build_sentences, hashed_texts, sentences_key, text_files
from kdray.text.corpus_building import (
    build_corpus,
    corpus_files,
    hashed_corpus,
    train_parts,
)
from kdray.text.encoded import Encoding, build_encoded, encoded_key, join_encoded, training_file
from kdray.text.noise import build_noise, noise_key
from kdray.text.phases import join_corpus, phases
from kdray.text.places import everywhere
from kdray.text.tokenizer import Tokenizer, build_tokenizer, tokenizer_key


@dataclass(frozen=True, slots=True)
class CorpusJob:
    """Read or generate the corpus, and clean it."""

    config: CorpusConfig
    key: Key
    files: Hashed = field(repr=False, compare=False)
    reads: ClassVar[tuple[Key, ...]] = ()
    is_light: ClassVar[bool] = True

    @classmethod
    def of(cls, config: CorpusConfig) -> Self:
        """Checksums of its files stand for the files. Phases may read them in other folders.

        Raises:
            DataError: a file is missing.
        """
        if isinstance(config, FilesCorpusConfig):
            config = config.model_copy(update={"folder": everywhere(config.folder)})
        return cls(config, *hashed_corpus(config))

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_corpus`.

        Raises:
            DataError: besides, if its files are no longer those that the key stands for.
        """
        counts = build_corpus(self.config, folder)
        self.files.prove(corpus_files(self.config).values())
        return counts

    def size(self, fetch: Fetch) -> int:
        """Of the training text; generated text comes one pair after another."""
        if isinstance(self.config, GeneratedCorpusConfig):
            return 0
        return sum(part.size for part in train_parts(self.config))

    def phases(self) -> tuple[Phase, ...]:
        """See `kdray.text.phases`."""
        assert isinstance(self.config, FilesCorpusConfig), "a generated corpus has no size"
        return phases(self.config)

    def join(self, work: Path, folder: Path, fetch: Fetch) -> Counts:
        """See `join_corpus`.

        Raises:
            DataError: besides, if its files are no longer those that the key stands for. What the
                phases have made of them is removed.
        """
        assert isinstance(self.config, FilesCorpusConfig), "a generated corpus has no size"
        counts = join_corpus(self.config, work, folder)
        try:
            self.files.prove(corpus_files(self.config).values())
        except DataError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        return counts


@dataclass(frozen=True, slots=True)
class SentencesJob:
    """Clean sentences of the target language, for a model that translates them back."""

    config: FilesCorpusConfig
    name: str
    corpus: Key
    key: Key
    files: Hashed = field(repr=False, compare=False)
    is_light: ClassVar[bool] = True

    @classmethod
    def of(cls, config: FilesCorpusConfig, name: str, corpus: Key) -> Self:
        """Checksums of its files stand for the files.

        Raises:
            DataError: a file is missing.
        """
        files = hashed_texts(config, [name])
        return cls(config, name, corpus, sentences_key(config, name, corpus, files), files)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus, in which the sentences may stand already."""
        return (self.corpus,)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_sentences`."""
        counts = build_sentences(self.config, self.name, fetch(self.corpus), folder)
        self.files.prove(text_files(self.config, self.name).values())
        return counts


@dataclass(frozen=True, slots=True)
class NoiseJob:
    """Damage the training text of a clean corpus. What it makes is a corpus too."""

    config: NoiseConfig
    corpus: Key
    is_light: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        """See `noise_key`."""
        return noise_key(self.config, self.corpus)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The clean corpus."""
        return (self.corpus,)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_noise`."""
        return build_noise(self.config, fetch(self.corpus), folder)


@dataclass(frozen=True, slots=True)
class TokenizerJob:
    """Train the tokenizer on a corpus."""

    config: TokenizerConfig
    corpus: Key
    is_light: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        """See `tokenizer_key`."""
        return tokenizer_key(self.config, self.corpus)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus."""
        return (self.corpus,)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_tokenizer`."""
        return build_tokenizer(self.config, fetch(self.corpus), folder)


@dataclass(frozen=True, slots=True)
class EncodingJob:
    """Turn a corpus into ids."""

    corpus: Key
    tokenizer: Source
    is_light: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        """See `encoded_key`. What was brought has weights too, which are no part of it."""
        tokenizer = self.tokenizer
        if isinstance(tokenizer, Brought):
            return encoded_key(self.corpus, Tokenizer.load(tokenizer.path).checksum)
        return encoded_key(self.corpus, tokenizer.fingerprint)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus, and the tokenizer if it was made here."""
        return keys_among(self.corpus, self.tokenizer)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """See `build_encoded`."""
        return build_encoded(fetch(self.corpus), Tokenizer.load(fetch(self.tokenizer)), folder)

    def size(self, fetch: Fetch) -> int:
        """Of the training text."""
        return training_file(fetch(self.corpus)).stat().st_size

    def phases(self) -> tuple[Phase, ...]:
        """One: the row groups of the training text."""
        return (Encoding(self.corpus, self.tokenizer),)

    def join(self, work: Path, folder: Path, fetch: Fetch) -> Counts:
        """See `join_encoded`."""
        tokenizer = Tokenizer.load(fetch(self.tokenizer))
        return join_encoded(fetch(self.corpus), tokenizer, work / Encoding.name, folder)
