"""A queue in a folder: no item is lost or given twice, whoever is killed and when."""

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.storage.queue import Queue

ITEMS = 60


def test_takers_side_by_side_get_each_item_once(tmp_path):
    queue, taken = Queue.new(tmp_path / "queue", ITEMS), []

    def work(taker):
        queue.admit(taker)
        while (item := queue.take(taker)) is not None:
            taken.append(item)
            queue.finish(taker, item)

    takers = [threading.Thread(target=work, args=(f"lane-{n}",)) for n in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert sorted(taken) == list(range(ITEMS))
    assert queue.ended() == dict.fromkeys(range(ITEMS))


def test_one_that_is_dismissed_while_it_takes_loses_nothing(tmp_path):
    queue, taken = Queue.new(tmp_path / "queue", ITEMS), []
    queue.admit("lane")

    def work():  # as one whose machine has lost the driver, and goes on
        with contextlib.suppress(FileNotFoundError):
            while (item := queue.take("lane")) is not None:
                queue.finish("lane", item)
                taken.append(item)

    taker = threading.Thread(target=work)
    taker.start()
    while not taken:
        pass
    held = queue.dismiss("lane")
    taker.join()
    assert queue.take("lane") is None
    if held is not None:
        queue.put_back(held)
    assert sorted([*queue.ended(), *queue.waiting()]) == list(range(ITEMS))


STEPS = st.tuples(st.sampled_from("ab"), st.sampled_from(["finish", "fail", "die", "put back"]))


@pytest.mark.slow
@given(st.lists(STEPS, max_size=30))
def test_items_come_in_their_order_and_what_is_in_hand_stays(tmp_path_factory, steps):
    queue = Queue.new(tmp_path_factory.mktemp("queue") / "q", 5)
    waiting, held, ended = list(range(5)), {}, {}
    names = {taker: taker for taker in "ab"}
    for taker in names:
        queue.admit(taker)
    for taker, how in ((names[letter], how) for letter, how in steps):
        if taker not in held and waiting:
            held[taker] = waiting.pop(0)
        item = queue.take(taker)
        assert item == held.get(taker)
        if item is None or how == "die":  # the next process of the taker goes on with it
            continue
        del held[taker]
        match how:
            case "finish":
                queue.finish(taker, item)
                ended[item] = None
            case "fail":
                queue.fail(item, f"{item} is bad\nand stays so")
                ended[item] = f"{item} is bad\nand stays so"
            case "put back":  # it was dismissed, and another one comes in its place
                assert queue.dismiss(taker) == item
                assert queue.take(taker) is None
                queue.put_back(item)
                waiting = sorted([*waiting, item])
                names[taker[0]] = f"{taker}+"
                queue.admit(names[taker[0]])
        assert queue.waiting() == waiting
        assert queue.ended() == ended
        assert queue.in_hand(taker) is None


def test_one_that_was_killed_while_it_failed_an_item_does_not_get_it_again(tmp_path, monkeypatch):
    queue = Queue.new(tmp_path / "queue", 2)
    queue.admit("lane")
    assert queue.take("lane") == 0
    with monkeypatch.context() as killed:
        killed.setattr("pathlib.Path.unlink", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            queue.fail(0, "bad")
    assert queue.take("lane") == 1
    assert queue.ended() == {0: "bad"}
