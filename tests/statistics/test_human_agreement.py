"""How often people agree is as in the paper's table, with its ends told."""

import pytest

from kdray.statistics.agreement import CURVES, human_agreement

PAPER = {  # percent -> points, from the paper's table
    "bleu": {50: 0.27, 55: 0.52, 60: 0.78, 65: 1.06, 70: 1.39, 75: 1.79, 80: 2.34, 85: 3.35},
    "chrf": {50: 0.14, 55: 0.33, 60: 0.54, 65: 0.76, 70: 1.00, 75: 1.28, 80: 1.63, 85: 2.12},
}


@pytest.mark.parametrize("metric", PAPER)
def test_the_curve_is_the_papers_table(metric):
    for percent, points in PAPER[metric].items():
        assert CURVES[metric].share(points) == pytest.approx(percent, abs=0.3)


def test_words_give_the_share_or_say_where_the_table_ends():
    assert str(human_agreement("bleu", 0.1)) == "under 50 %"
    assert str(human_agreement("bleu", -1.39)) == "about 70 %"
    assert str(human_agreement("bleu", 12)) == "over 85 %"
    assert str(human_agreement("chrf", 0)) == "under 50 %"
    assert str(human_agreement("chrf", 0.54)) == "about 60 %"
    assert str(human_agreement("chrf", 9)) == "over 90 %"
