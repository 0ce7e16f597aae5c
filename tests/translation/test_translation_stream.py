"""As many lines go out as came in, in their order, whatever they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.errors import DataError, InputError
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Translation
from kdray.translation import stream
from kdray.translation.files import Line
from kdray.translation.formats import JsonLines, Options, TextLines, TsvLines
from kdray.translation.stream import translate_lines

MOST_WORDS = 4
TEXT = TextLines(Options())
SOURCES = st.lists(
    st.one_of(
        st.sampled_from(["", "  ", "one two. three", "far too long for it. yes", "1 2 3 4 5 6"]),
        st.text(st.characters(blacklist_characters="\n", codec="utf-8"), max_size=12),
    ),
    max_size=20,
)


class Shouting:
    """A teacher that knows text alone: it shouts, and reads few words."""

    positions = None
    vocabulary = None

    def translate(self, src, options, refs=None):
        assert all(text.strip() for text in src)
        return [
            [Translation(f"{text.upper()}!" * rank, -rank, True) for rank in range(1, count + 1)]
            if len(text.split()) <= MOST_WORDS
            else []
            for text in src
            for count in [options.num_hyps]
        ]


def lines_of(sources):
    return [Line(text, f"line {n + 1}", n) for n, text in enumerate(sources)]


def translated(sources, form=TEXT, *, engine=None, **options):
    """What is written, and all that was counted."""
    engine = engine or Shouting()
    done = list(translate_lines(engine, iter(lines_of(sources)), form, SearchOptions(**options)))
    return [line for each in done for line in each.lines], done


@pytest.mark.slow
@given(SOURCES, st.integers(1, 5), st.lists(st.integers(0, 20)))
def test_every_line_goes_out_in_its_place(sources, window, pauses):
    lines = lines_of(sources)
    for pause in pauses:
        lines.insert(pause, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "WINDOW_LINES", window)
        done = list(translate_lines(Shouting(), iter(lines), TEXT, SearchOptions()))
    found = [line for each in done for line in each.lines]
    assert len(found) == len(sources) == sum(each.count for each in done)
    unread = {place for each in done for place in each.unread}
    for number, (src, hyp) in enumerate(zip(sources, found, strict=True)):
        if not src.strip():
            assert hyp == ""
        elif f"line {number + 1}" in unread:
            assert hyp == ""
            assert len(src.split()) > MOST_WORDS
        elif len(src.split()) <= MOST_WORDS:
            assert hyp == f"{src.upper()}!".replace("\t", " ").replace("\r\n", " ")


def test_what_is_too_long_is_translated_by_sentences_or_marked():
    found, (done,) = translated(["a b c. d e", "a b c d e. f", "a"])
    assert found == ["A B C.! D E!", "", "A!"]
    assert done.split == ["line 1"]
    assert done.unread == ["line 2"]


def test_what_comes_in_goes_out_before_more_comes():
    asked = []

    def slowly():
        for line in lines_of(["a", "b"]):
            yield line
            yield None
            asked.append(line.text)

    found = translate_lines(Shouting(), slowly(), TEXT, SearchOptions())
    assert next(found).lines == ["A!"]
    assert asked == []
    assert next(found).lines == ["B!"]


def test_lines_before_a_bad_one_are_not_lost():
    form, found = TsvLines(Options(), column=1), []
    lines = lines_of(["x\ta", "x\tb", "x", "x\tc"])
    with pytest.raises(DataError, match="line 3: 1 tab-separated columns"):
        found += translate_lines(Shouting(), iter(lines), form, SearchOptions())
    assert [line for each in found for line in each.lines] == ["x\ta\tA!", "x\tb\tB!"]


def test_an_engine_that_loses_a_line_is_found_out():
    class Losing(Shouting):
        def translate(self, src, options, refs=None):
            return super().translate(src[1:], options)

    with pytest.raises(InputError, match="translations of 1 sources where it was given 2"):
        translated(["a", "b"], engine=Losing())


@pytest.mark.parametrize(
    ("form", "line", "written"),
    [
        (TextLines(Options(scores=True)), "a", "A!\t-1.0000"),
        (TextLines(Options(num_hyps=2)), "a", "0 ||| A! ||| -1.0000\n0 ||| A!A! ||| -2.0000"),
        (TextLines(Options(num_hyps=2)), "1 2 3 4 5", "0 |||  ||| \n0 |||  ||| "),
        (TextLines(Options(scores=True)), "1 2 3 4 5", "\t"),
        (TsvLines(Options()), "a\tb", "a\tb\tA!"),
        (TsvLines(Options(num_hyps=2, scores=True), 1), "a\tb",
         "a\tb\tB!\t-1.0000\tB!B!\t-2.0000"),
        (TsvLines(Options(num_hyps=2)), "", "\t\t"),
        (JsonLines(Options()), '{"src": "ä", "id": 7}',
         '{"src": "ä", "id": 7, "translation": "Ä!"}'),
        (JsonLines(Options(scores=True), "x"), '{"x": "a"}',
         '{"x": "a", "translation": "A!", "score": -1}'),
        (JsonLines(Options(num_hyps=2)), '{"src": "a"}',
         '{"src": "a", "translations": [{"text": "A!", "score": -1}, '
         '{"text": "A!A!", "score": -2}]}'),
        (JsonLines(Options()), '{"src": "1 2 3 4 5"}',
         '{"src": "1 2 3 4 5", "translation": null, "untranslated": "too long for the model"}'),
        (JsonLines(Options()), '{"src": ""}', '{"src": "", "translation": ""}'),
        (JsonLines(Options()), "", ""),
        (JsonLines(Options()), r'{"src": "a", "\udc00": ["\ud83d", "\ud83d\ude00"]}',
         r'{"src": "a", "\udc00": ["\ud83d", "😀"], "translation": "A!"}'),
    ],
)  # fmt: skip
def test_each_format_writes_a_line_with_its_translations(form, line, written):
    (found,), _ = translated([line], form, num_hyps=form.options.num_hyps, beam=2)
    assert found == written


def test_half_a_character_is_not_translated():
    with pytest.raises(DataError, match=r"line 2: field src has half .* character 2, \\ud83d"):
        translated(['{"src": "a"}', r'{"src": "a\ud83d"}'], JsonLines(Options()))


@pytest.mark.parametrize("line", ["{", "[]", '{"src": 1}', '{"text": "a"}', '"a"', "[" * 10**5])
def test_an_object_without_its_text_is_named(line):
    with pytest.raises(DataError, match="line 1"):
        translated([line], JsonLines(Options()))
