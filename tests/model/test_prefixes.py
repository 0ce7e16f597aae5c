"""A search that is given the first tokens: both forms of a model go on alike."""

import pytest

from kdray.model.generate import SearchOptions, generate

pytestmark = pytest.mark.slow

OPTIONS = {
    "greedy": SearchOptions(),
    "beam": SearchOptions(beam=4),
    "n_best": SearchOptions(beam=4, num_hyps=3),
    "without_penalty": SearchOptions(beam=4, length_penalty=0.0),
    "short": SearchOptions(beam=3, max_length_ratio=0.2, max_length_slack=1),
}


def some_prefixes(translators):
    """Beginnings of other sentences' translations, of 0 to 4 tokens: most of them surprise."""
    hyps = translators.fast.translate(translators.sources, SearchOptions())
    shifted = [best.ids[:-1] for best, *_ in (*hyps[7:], *hyps[:7])]
    return [ids[: row % 5] for row, ids in enumerate(shifted)]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_both_forms_go_on_alike(translators, options):
    prefixes = some_prefixes(translators)
    fast = translators.fast.translate(translators.sources, options, prefixes=prefixes)
    slow = generate(translators.model, translators.sources, options, prefixes=prefixes)
    changed = 0
    plain = translators.fast.translate(translators.sources, options)
    for ours, theirs, prefix, own in zip(fast, slow, prefixes, plain, strict=True):
        assert [hyp.ids for hyp in ours] == [hyp.ids for hyp in theirs]
        assert [hyp.finished for hyp in ours] == [hyp.finished for hyp in theirs]
        for hyp, other in zip(ours, theirs, strict=True):
            assert hyp.score == pytest.approx(other.score, abs=1e-3)
            assert hyp.ids[: len(prefix)] == prefix
        changed += ours[0].ids != own[0].ids
    assert changed > 50


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_an_empty_prefix_is_none(translators, options):
    empty = [[] for _ in translators.sources]
    assert translators.fast.translate(
        translators.sources, options, prefixes=empty
    ) == translators.fast.translate(translators.sources, options)
    few = translators.sources[:30]
    assert generate(translators.model, few, options, prefixes=empty[:30]) == generate(
        translators.model, few, options
    )


def test_the_model_s_own_beginning_changes_nothing(translators):
    greedy = translators.fast.translate(translators.sources, SearchOptions())
    own = [best.ids[:2] for best, *_ in greedy]
    again = translators.fast.translate(translators.sources, SearchOptions(), prefixes=own)
    ended = [row for row, (best, *_) in enumerate(greedy) if best.finished]  # others may go on
    assert [again[row][0].ids for row in ended] == [greedy[row][0].ids for row in ended]
    assert len(ended) > 60


def test_a_prefix_leaves_as_much_room_as_there_was_without_it(translators):
    options = SearchOptions(max_length_ratio=0.001, max_length_slack=2)
    prefix = translators.fast.translate(translators.sources[:1], SearchOptions())[0][0].ids[:3]
    for search in (
        translators.fast.translate(translators.sources[20:21], options, prefixes=[prefix]),
        generate(translators.model, translators.sources[20:21], options, prefixes=[prefix]),
    ):
        assert len(search[0][0].ids) <= len(prefix) + 2
