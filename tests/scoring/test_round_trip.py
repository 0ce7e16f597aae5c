"""Text that a tokenizer cannot write or BLEU cannot read is told of before anything is trained."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sharded import at, fetch

from kdray.config.text import TokenizerConfig
from kdray.errors import DataError
from kdray.scoring.round_trip import FILE, LONGEST, SAMPLE, RoundTripJob
from kdray.text.tokenizer import build_tokenizer

ENGLISH = [f"There are {n} old houses beside the river, and {n + 1} boats." for n in range(60)]
CHINESE = [f"河边有{n}座老房子，还有{n + 1}条船。" for n in range(60)]
RUSSIAN = [f"У реки стоят {n} старых домов и {n + 1} лодок." for n in range(60)]
THAI = [f"มีบ้านเก่า{n}หลังอยู่ริมแม่น้ำและมีเรืออีกลำหนึ่ง เราเห็นพวกเขาทุกวันตอนเช้า " * 4 for n in range(60)]


@pytest.fixture
def measure(tmp_path):
    """Train a tokenizer on some pairs and measure it on others. -> counts."""

    def made(src, refs, *, bleu="13a", trained_on=None, dev=slice(40, None), **tokenizer):
        folders = [tmp_path / name for name in ("corpus", "other", "tokenizer", "made")]
        for folder in folders:
            folder.mkdir()
        corpus, other, pieces, out = folders
        for split, rows in (("train", slice(40)), ("dev", dev), ("test-news", slice(40, None))):
            columns = {"src": src[rows], "ref": refs[rows]}
            pq.write_table(pa.table(columns), corpus / f"{split}.parquet")
        texts = trained_on or (src[:40], refs[:40])
        pq.write_table(pa.table(dict(zip(("src", "ref"), texts, strict=True))),
                       other / "train.parquet")  # fmt: skip
        config = TokenizerConfig(**{"vocab_size": 120, "model_type": "bpe", **tokenizer})
        build_tokenizer(config, other, pieces)
        counts = RoundTripJob(at(corpus), at(pieces), bleu).make(out, fetch, threads=1)
        assert json.loads((out / FILE).read_text()).keys() == {"train", "dev", "test-news"}
        return counts

    return made


@pytest.mark.slow
def test_text_that_comes_back_is_not_spoken_of(measure):
    counts = measure(ENGLISH, [line.upper() for line in ENGLISH])
    assert counts["notes"] == []
    ref = counts["round_trip"]["dev"]["ref"]
    assert (ref["equal"], ref["bleu"], ref["chrf"], ref["unknown"]) == (1, 100, 100, 0)
    assert (ref["lines"], ref["changed"]) == (20, None)


@pytest.mark.slow
def test_what_normalisation_costs_chinese_is_told_with_the_repair(measure):
    counts = measure(ENGLISH, CHINESE, bleu="zh")
    ref = counts["round_trip"]["test-news"]["ref"]
    assert ref["equal"] == 0
    assert ref["bleu"] < 95
    assert counts["round_trip"]["test-news"]["src"]["equal"] == 1
    told = [note for note in counts["notes"] if note.startswith("test-news: ")]
    assert len(told) == 1
    for part in (
        f"BLEU {ref['bleu']:.1f}",
        "0% of the references",
        "，",
        "normalization to identity",
    ):
        assert part in told[0]


def test_the_repair_repairs(measure):
    assert measure(ENGLISH, CHINESE, bleu="zh", normalization="identity")["notes"] == []


def test_a_metric_that_scores_nothing_is_refused(measure):
    with pytest.raises(DataError, match=r"dev: BLEU is 0.0 for the references themselves.*13a"):
        measure(ENGLISH, CHINESE, bleu="13a", normalization="identity")


@pytest.mark.slow
def test_phrases_that_pass_for_words_are_told(measure):
    (told,) = measure(ENGLISH, THAI, bleu="13a", normalization="identity",
                      dev=slice(40, 60))["notes"]  # fmt: skip
    assert told.startswith("BLEU's tokenizer 13a makes words of ")


@pytest.mark.slow
def test_a_tokenizer_for_other_scripts_is_refused_on_either_side(measure, tmp_path):
    english = (ENGLISH[:40], ENGLISH[:40])
    with pytest.raises(DataError, match=r"dev: .*next to nothing of the ref side, 0% of its lines"):
        measure(ENGLISH, RUSSIAN, trained_on=english)


def test_a_source_that_cannot_be_read_is_refused(measure):
    with pytest.raises(DataError, match=r"dev: .*next to nothing of the src side"):
        measure(RUSSIAN, ENGLISH, trained_on=(ENGLISH[:40], ENGLISH[:40]))


@pytest.mark.slow
def test_unknown_characters_are_told_with_the_repair(measure):
    marked = [line.replace("old", "ołd") for line in ENGLISH]
    counts = measure(marked, marked, trained_on=(ENGLISH[:40], ENGLISH[:40]))
    assert counts["round_trip"]["dev"]["ref"]["unknown"] > 0.01
    told = [note for note in counts["notes"] if note.startswith("dev: ")]
    assert len(told) == 2
    assert all("byte_fallback" in note for note in told)


@pytest.mark.slow
def test_every_line_is_measured_for_its_length_and_a_sample_for_the_rest(measure):
    many = [f"dog {n}" for n in range(40)] + [f"a dog runs {n}" for n in range(5 * SAMPLE)]
    many[3333] = "a dog runs " * 50
    counts = measure(many, many, trained_on=(many[:400], many[:400]), vocab_size=60)
    assert counts["round_trip"]["dev"]["ref"]["lines"] == SAMPLE
    (longest,) = counts[LONGEST].values()
    assert longest["line"] == 3333 - 40 + 1
    assert longest["tokens"] > 100
