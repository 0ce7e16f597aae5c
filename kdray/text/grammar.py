"""Generated text: a synchronous grammar of two artificial languages whose ambiguity is known.

Each rule of the grammar arranges its parts twice, in source order and in target order. Each source
word becomes one target word: the only sense in the lexicon, the sense that the governing word
selects, or a sense that is drawn with known probabilities. So the entropy of the reference given
the source is computed, not estimated. It is exact because a source sentence has one tree (a noun
has one modifier at most, an adverb follows its verb, a verb always or never has an object) and
different draws give different references (a word splits into stem and suffix in one way).

All randomness is `random.Random.random`, the one method whose sequence Python guarantees across
versions. Imports neither torch nor ray.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from kdray.config.text import GeneratedCorpusConfig, GrammarConfig
from kdray.errors import ConfigError
from kdray.schema import Split
from kdray.text.lexicon import SRC_STEMS, TGT_STEMS, Sense, Word, Zipf, coiner, derive, spread

GENERATED_TEST = "test-generated"  # the split that holds the one test set

PATIENCE = 10_000  # sentences in a row that dev or test has already, before it is an error
_ZIPF_OFFSET = 2.0  # the probability of a word is proportional to 1 / (rank + offset), rank >= 1

_SRC_PLURAL, _TGT_PLURAL = "s", "и"
_TENSES = (("", "а"), ("n", "о"), ("t", "у"))  # suffix in the source, in the target
_GENDERS = ("е", "о", "ы")

_DETERMINERS, _PREPOSITIONS, _CONJUNCTIONS = 4, 6, 3
_ADJECTIVE, _MAX_ADJECTIVES = 0.35, 2
_ADVERB, _PLURAL = 0.25, 0.35
_RELATIVE = 0.4  # of the modifiers of a noun; the others are prepositional
_TRANSITIVE = 0.6  # of the verbs


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A word at its place in a sentence."""

    word: Word
    governor: Word | None = None  # selects the sense of an ambiguous word
    head: "Token | None" = None  # the noun with which it agrees
    src_suffix: str = ""
    tgt_suffix: str = ""


class Tree(NamedTuple):
    """A sentence or a part of one: the same tokens in the order of either language."""

    source: tuple[Token, ...]
    target: tuple[Token, ...]

    def then(self, other: "Tree", *, swap: bool = False) -> "Tree":
        """This part followed by the other; with `swap` the target has the other one first."""
        target = other.target + self.target if swap else self.target + other.target
        return Tree(self.source + other.source, target)


class GeneratedPair(NamedTuple):
    """A source sentence, one of its references, and H(reference | source) in nats."""

    src: str
    ref: str
    entropy: float


class Grammar:
    """Two languages made from a seed, and the rules that translate one into the other.

    `ambiguity`, `senses`, `context`, `reordering` and `agreement` do not change the source
    language: with equal seeds, only the references of the same source sentences differ.
    """

    def __init__(self, config: GrammarConfig, *, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._senses = Zipf(range(config.senses), offset=0)
        self._sense_entropy = self._senses.entropy()
        self._coin_src = coiner(SRC_STEMS, derive(seed, "source"))
        self._coin_tgt = coiner(TGT_STEMS, derive(seed, "target"))
        self._determiners = self._lexicon("determiners", _DETERMINERS, content=False)
        self._prepositions = self._lexicon("prepositions", _PREPOSITIONS, content=False)
        self._conjunctions = self._lexicon("conjunctions", _CONJUNCTIONS, content=False)
        self._relatives = self._lexicon("relative pronouns", 1, content=False)
        self._nouns = self._lexicon("nouns", config.nouns)
        self._verbs = self._lexicon("verbs", config.verbs)
        self._adjectives = self._lexicon("adjectives", config.adjectives)
        self._adverbs = self._lexicon("adverbs", config.adverbs)

    def sample(self, rng: random.Random) -> GeneratedPair:
        """A source sentence and one of its references."""
        tree = self.sample_tree(rng)
        # A generator of their own, so that the number of draws cannot change the next sentence.
        draws = random.Random(int(rng.random() * 2**53))
        return GeneratedPair(self.source(tree), self.translate(tree, draws), self.entropy(tree))

    def sample_tree(self, rng: random.Random) -> Tree:
        """A sentence of at most `max_words` words; a longer one is thrown away and drawn again."""
        while True:
            tree = self._clause(rng)
            while rng.random() < self._config.recursion:
                tree = tree.then(_leaf(Token(self._conjunctions.draw(rng)))).then(self._clause(rng))
            if len(tree.source) <= self._config.max_words:
                return tree

    def source(self, tree: Tree) -> str:
        """The sentence in the source language."""
        return " ".join(token.word.stem + token.src_suffix for token in tree.source)

    def translate(self, tree: Tree, rng: random.Random) -> str:
        """One reference; senses that nothing else decides are drawn from `rng`."""
        senses = {token: self._sense(token, rng) for token in tree.source}
        words = []
        for token in tree.target:
            word = senses[token].stem + token.tgt_suffix
            if token.head is not None and self._config.agreement:
                word += _GENDERS[senses[token.head].gender] + token.head.tgt_suffix
            words.append(word)
        return " ".join(words)

    def entropy(self, tree: Tree) -> float:
        """H(reference | source) in nats: the draws are independent, so their entropies add up."""
        return self._sense_entropy * sum(token.word.is_drawn for token in tree.source)

    def _clause(self, rng: random.Random) -> Tree:
        verb = self._verbs.draw(rng)
        subject, head = self._noun_phrase(rng, governor=verb)
        return subject.then(self._verb_phrase(rng, verb=verb, subject=head))

    def _noun_phrase(self, rng: random.Random, *, governor: Word) -> tuple[Tree, Token]:
        """The phrase and its noun."""
        noun = self._nouns.draw(rng)
        number = (_SRC_PLURAL, _TGT_PLURAL) if rng.random() < _PLURAL else ("", "")
        head = Token(noun, governor, None, *number)
        adjectives = Tree((), ())
        while len(adjectives.source) < _MAX_ADJECTIVES and rng.random() < _ADJECTIVE:
            adjectives = adjectives.then(_leaf(Token(self._adjectives.draw(rng), noun, head)))
        core = adjectives.then(_leaf(head), swap=noun.moves)
        phrase = _leaf(Token(self._determiners.draw(rng), noun, head)).then(core)
        if rng.random() < self._config.recursion:
            phrase = self._modified(rng, phrase, head)
        return phrase, head

    def _modified(self, rng: random.Random, phrase: Tree, head: Token) -> Tree:
        if rng.random() < _RELATIVE:
            clause = self._verb_phrase(rng, verb=self._verbs.draw(rng), subject=head)
            return phrase.then(_leaf(Token(self._relatives.draw(rng)))).then(clause)
        preposition = self._prepositions.draw(rng)
        inner, _ = self._noun_phrase(rng, governor=head.word)
        attached = _leaf(Token(preposition)).then(inner, swap=preposition.moves)
        return phrase.then(attached, swap=preposition.moves)

    def _verb_phrase(self, rng: random.Random, *, verb: Word, subject: Token) -> Tree:
        tense = _TENSES[int(rng.random() * len(_TENSES))]
        phrase = _leaf(Token(verb, subject.word, subject, *tense))
        if rng.random() < _ADVERB:
            adverb = self._adverbs.draw(rng)
            phrase = phrase.then(_leaf(Token(adverb, verb)), swap=adverb.moves)
        if verb.transitive:
            inner, _ = self._noun_phrase(rng, governor=verb)
            phrase = phrase.then(inner, swap=verb.moves)
        return phrase

    def _sense(self, token: Token, rng: random.Random) -> Sense:
        word = token.word
        if word.is_drawn:
            return word.senses[self._senses.draw(rng)]
        if len(word.senses) == 1:
            return word.senses[0]
        assert token.governor is not None, "every content word has a governor"
        return word.senses[token.governor.theme]

    def _lexicon(self, name: str, size: int, *, content: bool = True) -> "Zipf[Word]":
        """The words of a class; only content words are ambiguous."""
        config, seed = self._config, self._seed
        ambiguity = config.ambiguity if content else 0.0
        ambiguous = spread(ambiguity, size, derive(seed, f"ambiguous {name}"))
        decided = iter(spread(config.context, sum(ambiguous), derive(seed, f"context {name}")))
        moves = spread(config.reordering, size, derive(seed, f"order of {name}"))
        transitive = spread(_TRANSITIVE, size, derive(seed, f"objects of {name}"))
        traits = derive(seed, f"themes and genders of {name}")
        syllables = 2 if content else 1
        words = [
            Word(
                stem=self._coin_src(syllables),
                senses=tuple(
                    Sense(self._coin_tgt(syllables), int(traits.random() * len(_GENDERS)))
                    for _ in range(config.senses if ambiguous[rank] else 1)
                ),
                is_drawn=ambiguous[rank] and not next(decided),
                theme=int(traits.random() * config.senses),
                moves=moves[rank],
                transitive=transitive[rank],
            )
            for rank in range(size)
        ]
        return Zipf(words, offset=_ZIPF_OFFSET)


def generate_pairs(config: GeneratedCorpusConfig) -> dict[str, Iterator[GeneratedPair]]:
    """The pairs of each split, train last.

    No source sentence of dev or test occurs a second time in any split: dev leaves out the
    sentences of test, and train those of both. With more pairs, a split begins with the same pairs
    as before, as long as the sentences that it leaves out are the same.

    Raises:
        ConfigError: the grammar has too few sentences; for train, raised while it is read.
    """
    grammar = Grammar(config.grammar, seed=config.seed)
    sizes = {GENERATED_TEST: config.test_pairs, Split.DEV.value: config.dev_pairs}
    splits: dict[str, Iterator[GeneratedPair]] = {}
    taken: set[str] = set()
    for split, size in sizes.items():
        pairs = []
        for pair in islice(_untaken(grammar, derive(config.seed, split), taken), size):
            pairs.append(pair)
            taken.add(pair.src)
        splits[split] = iter(pairs)
    train = _untaken(grammar, derive(config.seed, Split.TRAIN), taken)
    return {**splits, Split.TRAIN.value: islice(train, config.train_pairs)}


def _untaken(grammar: Grammar, rng: random.Random, taken: set[str]) -> Iterator[GeneratedPair]:
    refused = 0
    while refused < PATIENCE:
        pair = grammar.sample(rng)
        refused = refused + 1 if pair.src in taken else 0
        if not refused:
            yield pair
    raise ConfigError(
        f"corpus.grammar: {PATIENCE} sentences in a row stand in dev or test already, which hold "
        f"{len(taken)}; ask for fewer dev_pairs and test_pairs, or for more words or recursion"
    )


def _leaf(token: Token) -> Tree:
    return Tree((token,), (token,))
