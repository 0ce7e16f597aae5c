"""Where the text comes from, how it is cleaned, and how it is cut into pieces."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Fraction, Frozen, Name, Place
from kdray.config.monolingual import PARALLEL, MonolingualConfig
from kdray.config.sources import Mixture, PairSource, TrainSource


class CleaningConfig(Frozen):
    """Which training pairs are dropped. Dev and test pairs are never dropped.

    Words are what white space separates; `max_chars` limits text that has no spaces.
    """

    max_words: int = Field(default=200, ge=1)
    max_chars: int = Field(default=1500, ge=1)
    max_ratio: float = Field(default=4.0, ge=1)  # longer side over shorter side, in characters
    ratio_slack: int = Field(default=20, ge=0)  # sides shorter than this many characters pass
    drop_identical: bool = True
    drop_duplicates: bool = True
    drop_control: bool = True
    drop_overlap: bool = True  # pairs of which both sides occur in dev or test


class NoiseConfig(Frozen):
    """Damage to words of the clean training text; dev and tests stay as they are.

    `rate` is the share of words that are damaged, by equal shares of `operations`, on the sides
    that `side` names. With a rate of 0 there is no noise, and nothing else here counts. Students
    learn the noisy pairs. `teacher_learns` says which text a teacher that the study trains learns.
    """

    rate: Fraction = 0.0
    operations: tuple[Literal["delete", "replace", "swap"], ...] = Field(
        default=("delete", "replace", "swap"), min_length=1
    )
    side: Literal["source", "target", "both"] = "both"
    seed: int = Field(default=1, ge=0)
    teacher_learns: Literal["clean", "noisy"] = "clean"

    @model_validator(mode="after")
    def _operations_differ(self) -> Self:
        if len(set(self.operations)) != len(self.operations):
            raise ValueError(
                f"operations {list(self.operations)} repeat an operation; give each once"
            )
        return self


class FilesCorpusConfig(Frozen):
    """A corpus read from files in one folder. Its fingerprint depends on content, not on names."""

    kind: Literal["files"]
    folder: Place
    src_lang: Name
    tgt_lang: Name
    train: TrainSource
    dev: PairSource
    tests: dict[Name, PairSource] = Field(min_length=1)
    cleaning: CleaningConfig = CleaningConfig()
    noise: NoiseConfig = NoiseConfig()
    max_train_pairs: int | None = Field(default=None, ge=1)  # the first N after cleaning
    monolingual: dict[Name, MonolingualConfig] = Field(default_factory=dict)
    licence: str = ""  # of the text, for the cards of models; no part of the fingerprint

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of all sources of training text."""
        mixed = tuple(self.train.sources) if isinstance(self.train, Mixture) else (PARALLEL,)
        return (*mixed, *self.monolingual)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.sources)) != len(self.sources):
            raise ValueError(
                f"sources {', '.join(self.sources)} repeat a name; text in monolingual needs one "
                f"of its own, and {PARALLEL} is the text of train"
            )
        if self.monolingual and self.noise.rate and self.noise.side != "source":
            raise ValueError(
                "noise on the target side needs targets, which monolingual text has not; set "
                "noise.side to source, or leave monolingual out"
            )
        return self


class GrammarConfig(Frozen):
    """The synchronous grammar of a generated corpus; each field is one kind of difficulty.

    `ambiguity` is the share of source content words that have several translations, `senses` how
    many they have, `context` the share of ambiguous words whose translation another word of the
    sentence decides (the others are drawn at random, which no model can predict), `reordering` the
    share of constructions whose parts change places, `agreement` whether target words carry the
    number and gender of their head, `recursion` the probability that a phrase contains another.
    """

    nouns: int = Field(default=80, ge=4)
    verbs: int = Field(default=50, ge=4)
    adjectives: int = Field(default=40, ge=4)
    adverbs: int = Field(default=20, ge=4)
    ambiguity: Fraction = 0.3
    senses: int = Field(default=3, ge=2, le=8)
    context: Fraction = 0.5
    reordering: Fraction = 1.0
    agreement: bool = True
    recursion: float = Field(default=0.25, ge=0, le=0.6)
    max_words: int = Field(default=40, ge=8)


class GeneratedCorpusConfig(Frozen):
    """A corpus that is generated from a seed, without a download; its true ambiguity is known."""

    src_lang: ClassVar[str] = "src"
    tgt_lang: ClassVar[str] = "tgt"
    licence: ClassVar[str] = ""

    sources: ClassVar[tuple[str, ...]] = (PARALLEL,)
    monolingual: ClassVar[Mapping[str, MonolingualConfig]] = {}

    kind: Literal["generated"]
    seed: int = 1
    train_pairs: int = Field(default=8000, ge=10, le=10**9)
    dev_pairs: int = Field(default=400, ge=2, le=10**6)
    test_pairs: int = Field(default=400, ge=2, le=10**6)
    grammar: GrammarConfig = GrammarConfig()
    cleaning: CleaningConfig = CleaningConfig()
    noise: NoiseConfig = NoiseConfig()


CorpusConfig = Annotated[FilesCorpusConfig | GeneratedCorpusConfig, Field(discriminator="kind")]


class TokenizerConfig(Frozen):
    """A SentencePiece model, one for both languages (`joint`) or one for each."""

    joint: bool = True
    model_type: Literal["unigram", "bpe"] = "unigram"
    vocab_size: int = Field(default=8000, ge=16, le=10**6)  # of each model, with the special pieces
    character_coverage: float = Field(default=1.0, ge=0.98, le=1)
    byte_fallback: bool = False
    normalization: Literal["nmt_nfkc", "nfkc", "identity"] = "nmt_nfkc"
    max_sentences: int = Field(default=2_000_000, ge=1)  # a fixed sample of a larger corpus

    @model_validator(mode="after")
    def _room_for_bytes(self) -> Self:
        if self.byte_fallback and self.vocab_size < 300:
            raise ValueError(
                f"byte_fallback adds 256 pieces, vocab_size {self.vocab_size} has no room for "
                "them; use 300 or more"
            )
        return self
