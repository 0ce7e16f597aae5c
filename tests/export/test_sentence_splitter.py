"""The splitter in packages of Argos Translate, read by the library that they read it with."""

import pytest

from kdray.export.argos import SPLITTER
from kdray.translation.sentences import sentences

minisbd = pytest.importorskip("minisbd")

TEXTS = [
    "One sentence.", "One. Two! Three? Four", "No end", "What?! Yes... no.", ".", "a b  c",
    "Ein Satz.  Und noch einer.", 'He said "go." Then he went.', "U.S army and 3.5 of it, v1.2.",
    "一句话。又一句！“第三句。”第四", "कैसे हो। ठीक है।", "A line\nwith a break. And more.",
    "See https://a.example/x.y?z now. Done.", "x" * 2500 + ". " + "y" * 10,
]  # fmt: skip


@pytest.fixture(scope="module")
def detector():
    return minisbd.SBDetect(str(SPLITTER), use_gpu=False)


@pytest.mark.parametrize("text", TEXTS)
def test_it_cuts_behind_signs_and_loses_nothing(detector, text):
    found = detector.sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    if '"' not in text and "”" not in text and "http" not in text:
        assert [each.split() for each in found] == [each.split() for each in sentences(text)]


def test_quotation_marks_stay_with_their_sentence(detector):
    assert detector.sentences('He said "go." Then he went.') == ['He said "go."', "Then he went."]
