"""Texts of several callers share batches, bounded in padded tokens; none is lost or mixed up."""

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.model.generate import SearchOptions
from kdray.serving.batching import Batches, QueueFull
from kdray.teacher.engine import Translation
from kdray.translation.texts import Translated

ONE, TWO = SearchOptions(num_hyps=1), SearchOptions(num_hyps=2)


class Slow:
    """Answers each text with itself and the options; waits until it is let go on."""

    def __init__(self):
        self.go_on = threading.Event()
        self.batches = []

    def __call__(self, texts, options):
        assert self.go_on.wait(30)
        self.batches.append((list(texts), options))
        if "poison" in texts:
            raise ValueError("poison")
        return [Translated([Translation(f"{t} {options.num_hyps}", 0.0, True)]) for t in texts]


def batches_of(translate, *, most_tokens=16, most_waiting=1000, at_once=1):
    return Batches(
        translate=translate,
        lengths=lambda texts: [len(text) for text in texts],
        most_tokens=lambda: most_tokens,
        most_waiting=most_waiting,
        at_once=at_once,
    )


async def all_of(batches, translate, requests):
    """Ask everything at once, and let the model go on when all has been asked."""
    tasks = [asyncio.create_task(batches.answers(texts, how)) for texts, how in requests]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    translate.go_on.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


WORDS = st.text("ab", min_size=1, max_size=20)


@given(
    st.lists(st.tuples(st.lists(WORDS, max_size=5), st.sampled_from([ONE, TWO])), max_size=8),
    st.integers(1, 40),
    st.integers(1, 3),
)
def test_everybody_gets_the_answers_to_their_texts(requests, most_tokens, at_once):
    translate = Slow()
    batches = batches_of(translate, most_tokens=most_tokens, at_once=at_once)
    found = asyncio.run(all_of(batches, translate, requests))
    for (texts, how), answers in zip(requests, found, strict=True):
        assert [each.best[0].text for each in answers] == [f"{t} {how.num_hyps}" for t in texts]
    made = [text for texts, _ in translate.batches for text in texts]
    assert sorted(made) == sorted(text for texts, _ in requests for text in texts)
    for texts, _ in translate.batches:
        assert len(texts) == 1 or max(map(len, texts)) * len(texts) <= most_tokens


def test_callers_share_a_batch_while_the_model_is_busy():
    translate = Slow()
    requests = [(["first"], ONE)] + [([f"{number}"], ONE) for number in range(9)]
    asyncio.run(all_of(batches_of(translate), translate, requests))
    sizes = [len(texts) for texts, _ in translate.batches]
    assert sizes == [1, 9]


def test_what_finds_no_room_is_refused_and_harms_nobody():
    translate = Slow()
    batches = batches_of(translate, most_waiting=3)
    requests = [(["a"], ONE), (["b", "c"], ONE), (["d", "e"], ONE), (["f"], ONE)]
    first, second, third, fourth = asyncio.run(all_of(batches, translate, requests))
    assert isinstance(third, QueueFull)
    assert [len(first), len(second), len(fourth)] == [1, 2, 1]


def test_a_text_that_fails_harms_no_other_caller():
    translate = Slow()
    requests = [(["a"], ONE), (["b"], ONE), (["poison"], ONE), (["c"], ONE)]
    found = asyncio.run(all_of(batches_of(translate, most_tokens=99), translate, requests))
    assert isinstance(found.pop(2), ValueError)
    assert [answers[0].best[0].text for answers in found] == ["a 1", "b 1", "c 1"]


def test_texts_of_a_caller_who_has_gone_are_not_translated():
    translate = Slow()

    async def leave():
        batches = batches_of(translate, most_waiting=1)
        busy = asyncio.create_task(batches.answers(["a"], ONE))
        gone = asyncio.create_task(batches.answers(["b"], ONE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        there_is_room = asyncio.create_task(batches.answers(["c"], ONE))
        await asyncio.sleep(0)
        translate.go_on.set()
        await busy
        await there_is_room

    asyncio.run(leave())
    assert [texts for texts, _ in translate.batches] == [["a"], ["c"]]
