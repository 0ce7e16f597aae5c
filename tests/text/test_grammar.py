"""The generated languages obey their configuration, and their stated entropy is the true one."""

import math
from collections import Counter, defaultdict
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdray.config.text import GeneratedCorpusConfig, GrammarConfig
from kdray.errors import ConfigError
from kdray.text import grammar as grammar_module
from kdray.text.grammar import GENERATED_TEST, Grammar, generate_pairs
from kdray.text.lexicon import derive

SMALL = {"nouns": 10, "verbs": 10, "adjectives": 10, "adverbs": 10}


def grammar(seed=1, **knobs):
    return Grammar(GrammarConfig(**knobs), seed=seed)


def trees(language, count):
    rng = derive(7, "trees")
    return [language.sample_tree(rng) for _ in range(count)]


def pairs(language, count):
    rng = derive(7, "pairs")
    return [language.sample(rng) for _ in range(count)]


def redraw(language, tree, count=1):
    rng = derive(7, "translations")
    return [language.translate(tree, rng) for _ in range(count)]


def words_of(language, count=1500):
    return {token.word for tree in trees(language, count) for token in tree.source}


def suffix(word):
    return word[len(word.rstrip("аеиоуы")) :]


def entropy_of_a_draw(senses):
    total = sum(1 / rank for rank in range(1, senses + 1))
    return -sum(1 / rank / total * math.log(1 / rank / total) for rank in range(1, senses + 1))


KNOBS = st.builds(
    GrammarConfig,
    nouns=st.integers(4, 30),
    verbs=st.integers(4, 30),
    adjectives=st.integers(4, 30),
    adverbs=st.integers(4, 30),
    ambiguity=st.floats(0, 1),
    senses=st.integers(2, 8),
    context=st.floats(0, 1),
    reordering=st.floats(0, 1),
    agreement=st.booleans(),
    recursion=st.floats(0, 0.6),
    max_words=st.integers(8, 40),
)


@pytest.mark.slow
@settings(max_examples=25)
@given(config=KNOBS, seed=st.integers(0, 2**40))
def test_any_grammar_makes_sentences_within_its_bounds(config, seed):
    for pair in pairs(Grammar(config, seed=seed), 5):
        src, ref = pair.src.split(" "), pair.ref.split(" ")
        assert 3 <= len(src) == len(ref) <= config.max_words
        assert all(word.isascii() and word.isalpha() for word in src)
        assert all(word.isalpha() and not set(word) & set(pair.src) for word in ref)
        choices = pair.entropy / entropy_of_a_draw(config.senses)
        assert choices == pytest.approx(round(choices))
        assert 0 <= round(choices) <= len(src)


def test_equal_seeds_make_equal_languages_and_sentences():
    assert pairs(grammar(), 50) == pairs(grammar(), 50)
    assert pairs(grammar(), 50) != pairs(grammar(seed=2), 50)


@pytest.mark.parametrize(
    "knobs",
    [{"ambiguity": 0.9}, {"senses": 8}, {"context": 0}, {"reordering": 0}, {"agreement": False}],
)
def test_knobs_of_the_target_leave_the_source_as_it_is(knobs):
    plain, other = pairs(grammar(), 100), pairs(grammar(**knobs), 100)
    assert [pair.src for pair in plain] == [pair.src for pair in other]
    assert [pair.ref for pair in plain] != [pair.ref for pair in other]


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [{"ambiguity": 0}, {"ambiguity": 1, "context": 1}])
def test_without_free_choices_the_reference_is_a_function_of_the_source(knobs):
    language = grammar(**SMALL, **knobs, recursion=0.1)
    references = defaultdict(set)
    for pair in pairs(language, 4000):
        assert pair.entropy == 0
        references[pair.src].add(pair.ref)
    assert len(references) < 3900  # some sources did come again
    assert all(len(refs) == 1 for refs in references.values())


@pytest.mark.slow
def test_a_source_sentence_has_one_tree():
    language = grammar(nouns=4, verbs=4, adjectives=4, adverbs=4, recursion=0.4, max_words=9)
    shapes = defaultdict(set)
    for tree in trees(language, 5000):
        place = {token: index for index, token in enumerate(tree.source)}
        shape = tuple((t.word, t.governor, place.get(t.head)) for t in tree.source)
        shapes[language.source(tree)].add((shape, tuple(place[t] for t in tree.target)))
    assert len(shapes) < 4800
    assert all(len(trees_of_sentence) == 1 for trees_of_sentence in shapes.values())


@pytest.mark.slow
@pytest.mark.parametrize("senses", [2, 3])
def test_stated_entropy_is_that_of_repeated_translations(senses):
    language = grammar(**SMALL, ambiguity=1, context=0.5, senses=senses)
    draws = 4000
    checked = 0
    for tree in islice((t for t in trees(language, 200) if 1 < language.entropy(t) < 3), 4):
        counts = Counter(redraw(language, tree, draws))
        free = sum(token.word.is_drawn for token in tree.source)
        assert len(counts) <= senses**free
        measured = -sum(n / draws * math.log(n / draws) for n in counts.values())
        measured += (senses**free - 1) / (2 * draws)  # Miller and Madow's correction of its bias
        assert measured == pytest.approx(language.entropy(tree), abs=0.06)
        checked += 1
    assert checked == 4


def test_context_decides_by_the_governor_alone():
    language = grammar(**SMALL, ambiguity=1, context=1, agreement=False)
    translations = defaultdict(set)
    for tree in trees(language, 800):
        reference = redraw(language, tree)[0].split(" ")
        for token, word in zip(tree.target, reference, strict=True):
            translations[token.word, token.governor, token.tgt_suffix].add(word)
    assert all(len(words) == 1 for words in translations.values())
    by_word = defaultdict(set)
    for (word, _, number), words in translations.items():
        by_word[word, number] |= words
    ambiguous = [len(words) for (word, _), words in by_word.items() if len(word.senses) > 1]
    assert sum(count == 3 for count in ambiguous) > len(ambiguous) / 2


@pytest.mark.slow
def test_ambiguity_senses_and_context_are_shares_of_the_content_words():
    words = words_of(grammar(**SMALL, ambiguity=0.4, senses=5, context=0.5))
    ambiguous = [word for word in words if len(word.senses) > 1]
    assert len(ambiguous) == 4 * 4  # of 10 in each of four classes
    assert {len(word.senses) for word in ambiguous} == {5}
    assert sum(word.is_drawn for word in ambiguous) == 4 * 2


@pytest.mark.slow
def test_words_of_a_language_have_no_form_in_common():
    words = words_of(grammar(**SMALL, ambiguity=1))
    stems = [sense.stem for word in words for sense in word.senses]
    assert len({word.stem for word in words}) == len(words)
    assert len(set(stems)) == len(stems)
    assert not any(suffix(stem) for stem in stems)


def test_frequent_words_are_much_more_frequent():
    counts = Counter(word for pair in pairs(grammar(recursion=0), 500) for word in pair.src.split())
    ordered = [count for _, count in counts.most_common()]
    assert sum(ordered[: len(ordered) // 10]) > sum(ordered) / 3


def test_without_reordering_the_target_follows_the_source():
    assert all(tree.source == tree.target for tree in trees(grammar(reordering=0), 200))


def moved(language):
    sentences = trees(language, 300)
    return sum(tree.source != tree.target for tree in sentences) / len(sentences)


@pytest.mark.slow
def test_more_reordering_moves_more():
    shares = [moved(grammar(reordering=share)) for share in (0, 0.3, 0.6, 1)]
    assert shares == sorted(set(shares))


def clause_parts(tree):
    """Subject and verb of a sentence without recursion: D A* N V ..."""
    subject = tree.source[0].head
    return subject, tree.source[tree.source.index(subject) + 1]


def test_full_reordering_is_verb_final_and_puts_adjectives_behind():
    seen = Counter()
    for tree in trees(grammar(reordering=1, recursion=0), 300):
        _, verb = clause_parts(tree)
        assert tree.target[-1] is verb or not verb.word.transitive
        seen["object"] += verb.word.transitive
        place = {token: index for index, token in enumerate(tree.target)}
        for head in {token.head for token in tree.source if token.head is not None}:
            determiner, *adjectives = (t for t in tree.source if t.head is head and t is not verb)
            assert place[determiner] < place[head]
            assert all(place[adjective] > place[head] for adjective in adjectives)
            seen["adjective"] += len(adjectives)
    assert min(seen["object"], seen["adjective"]) > 50


def test_order_is_decided_by_words_not_by_chance():
    language = grammar(**SMALL, reordering=0.5, recursion=0)
    orders = defaultdict(set)
    for tree in trees(language, 500):
        _, verb = clause_parts(tree)
        if verb.word.transitive:
            orders[verb.word].add(tree.target.index(verb) > tree.target.index(tree.source[-1]))
    assert all(len(order) == 1 for order in orders.values())
    assert {next(iter(order)) for order in orders.values()} == {False, True}


def test_agreement_writes_gender_and_number_of_the_head():
    language = grammar(ambiguity=0, recursion=0)
    for tree in trees(language, 200):
        forms = dict(zip(tree.target, redraw(language, tree)[0].split(" "), strict=True))
        subject, verb = clause_parts(tree)
        before = tree.source[: tree.source.index(subject)]
        gender = ("е", "о", "ы")[subject.word.senses[0].gender]
        agreed = gender + "и" * (subject.src_suffix == "s")
        assert {suffix(forms[token]) for token in before} == {agreed}
        assert suffix(forms[verb])[1:] == agreed  # behind the tense
        assert suffix(forms[subject]) == agreed[1:]


def test_without_agreement_words_keep_their_own_form():
    language = grammar(**SMALL, ambiguity=0, agreement=False)
    seen = Counter()
    for tree in trees(language, 200):
        for token, word in zip(tree.target, redraw(language, tree)[0].split(" "), strict=True):
            assert word == token.word.senses[0].stem + token.tgt_suffix
            if token.head is not None and not token.src_suffix and not token.tgt_suffix:
                seen[suffix(word)] += 1
    assert set(seen) == {""}  # determiners and adjectives
    assert seen[""] > 200


def test_recursion_makes_sentences_longer():
    lengths = [
        sum(len(tree.source) for tree in trees(grammar(recursion=chance), 300)) / 300
        for chance in (0, 0.2, 0.4)
    ]
    assert lengths == sorted(set(lengths))
    assert max(len(tree.source) for tree in trees(grammar(recursion=0), 300)) <= 10


def splits(**options):
    config = GeneratedCorpusConfig(
        **{"kind": "generated", "train_pairs": 100, "dev_pairs": 20, "test_pairs": 20, **options}
    )
    return {split: list(pairs) for split, pairs in generate_pairs(config).items()}


@pytest.mark.slow
def test_splits_have_their_sizes_and_no_source_of_each_other():
    made = splits(grammar=GrammarConfig(**SMALL, recursion=0, max_words=8), train_pairs=3000)
    assert {split: len(pairs) for split, pairs in made.items()} == {
        GENERATED_TEST: 20,
        "dev": 20,
        "train": 3000,
    }
    held_out = [pair.src for split in (GENERATED_TEST, "dev") for pair in made[split]]
    assert len(set(held_out)) == 40
    assert not set(held_out) & {pair.src for pair in made["train"]}


@pytest.mark.slow
def test_larger_splits_begin_with_the_pairs_of_smaller_ones():
    small, larger = splits(), splits(train_pairs=200)
    assert larger["train"][:100] == small["train"]
    assert larger["dev"] == small["dev"]
    assert splits(dev_pairs=30)["dev"][:20] == small["dev"]
    assert splits() == small
    assert splits(seed=2)["train"] != small["train"]


def test_train_may_be_read_before_the_held_out_splits():
    config = GeneratedCorpusConfig(kind="generated", train_pairs=100, dev_pairs=20, test_pairs=20)
    made = generate_pairs(config)
    train = list(made["train"])
    assert {"train": train, **{s: list(made[s]) for s in (GENERATED_TEST, "dev")}} == splits()


def test_grammar_with_too_few_sentences_is_refused(monkeypatch):
    monkeypatch.setattr(grammar_module, "PATIENCE", 2)
    tiny = GrammarConfig(nouns=4, verbs=4, adjectives=4, adverbs=4, recursion=0, max_words=8)
    with pytest.raises(ConfigError, match=r"2 sentences in a row .* which hold \d+; ask for fewer"):
        splits(grammar=tiny, dev_pairs=5000)


def test_an_untaken_sentence_is_looked_for_as_often_as_is_told(monkeypatch):
    monkeypatch.setattr(grammar_module, "PATIENCE", 3)
    drawn = [pair.src for pair in pairs(grammar(), 4)]
    assert len(set(drawn)) == 4

    def first_untaken(taken):
        return next(grammar_module._untaken(grammar(), derive(7, "pairs"), taken))

    assert first_untaken(set(drawn[:2])).src == drawn[2]
    with pytest.raises(ConfigError, match="3 sentences in a row"):
        first_untaken(set(drawn[:3]))


def test_first_sentence_is_the_same_in_every_version():
    assert pairs(grammar(), 1)[0][:2] == (
        "pugi pibi zize pu diri zamu vitu debisa davas",
        "зожолы жалад тисыи текапуди хазитыи лон валозе зинызод лыдусаы",
    )
