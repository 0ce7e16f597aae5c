"""What is not translated of a text stays as it was."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.serving.documents import markup, plain

WORDS = st.text("ab <>&\"'é", max_size=8)


@given(st.text())
def test_a_plain_text_has_all_its_lines(text):
    document = plain(text)
    assert document.written(document.lines) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert not any("\n" in line or "\r" in line for line in document.lines)


@given(st.lists(st.tuples(st.sampled_from(["p", "b", "A", "td"]), WORDS, WORDS), max_size=6))
def test_text_between_tags_is_translated_and_nothing_else(elements):
    made = "".join(
        f'<{tag} title="{html.escape(title)}">{html.escape(text, quote=False)}</{tag.lower()}>'
        for tag, title, text in elements
    )
    document = markup(made)
    assert list(document.lines) == [" ".join(t.split()) for _, _, t in elements if t.strip()]
    shouted = document.written([line.upper() for line in document.lines])
    assert markup(shouted).lines == [line.upper() for line in document.lines]
    assert markup(shouted).around == document.around


@given(st.text("<>/!-ab\"'=& ;[]?", max_size=60))
def test_whatever_is_given_is_taken_apart(text):
    document = markup(text)
    assert len(document.around) == len(document.lines) + 1
    assert all(line.strip() for line in document.lines)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a <b>c</b> d", ["a", "c", "d"]),
        ("<!DOCTYPE html><!-- no --><p>yes</p>", ["yes"]),
        ("<script>if (a < b && c) {}</script>x", ["x"]),
        ("<style>p > b {}</style>x", ["x"]),
        ("<code>a<code>b</code>c &amp; d</code>x", ["x"]),
        ('<span translate="no">kdray &lt;<b>b</b></span> x', ["x"]),
        ('<img translate="no">x<br/>y', ["x", "y"]),
        ("a &amp; b &eacute;", ["a & b é"]),
        ("  a\n  b  ", ["a b"]),
    ],
)
def test_what_is_no_language_stays(text, lines):
    document = markup(text)
    assert document.lines == lines
    kept = document.written(lines)
    assert html.unescape(kept).split() == html.unescape(text).split()
