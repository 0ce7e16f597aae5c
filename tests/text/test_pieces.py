"""Ids never meet another tokenizer than the one that made them, whatever fingerprints say."""

import re

import numpy as np
import pyarrow as pa
import pytest

from kdray.artifacts import Brought, Key
from kdray.config.text import TokenizerConfig
from kdray.errors import DataError
from kdray.fit.worker import Worker
from kdray.model.storage import save_model, tensors
from kdray.schema import Column, Split
from kdray.teacher.earlier import Earlier, note_earlier
from kdray.teacher.hypotheses import FILE, Hypotheses, RecodingJob, read_translations
from kdray.teacher.own import OwnModels
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit, Encoding, build_encoded, join_encoded
from kdray.text.pieces import check_pieces, check_rows, of_pieces, pieces_of
from kdray.text.sequences import read_table, write_table
from kdray.text.tokenizer import Tokenizer, build_tokenizer

KEY = Key("hypotheses", 2, {})


@pytest.fixture(scope="module")
def tokenizers(toy_corpus, toy_tokenizers, tmp_path_factory) -> list[Tokenizer]:
    """Two with equally many pieces, as two versions of SentencePiece make them."""
    folder = tmp_path_factory.mktemp("another")
    config = TokenizerConfig(joint=True, model_type="bpe", vocab_size=70, max_sentences=40)
    build_tokenizer(config, toy_corpus.path, folder)
    other = Tokenizer.load(folder)
    assert other.tgt_vocab == toy_tokenizers["joint"].tgt_vocab
    assert other.checksum != toy_tokenizers["joint"].checksum
    return [toy_tokenizers["joint"], other]


def made_with(tokenizer, corpus, folder):
    """Ids of a corpus. -> their folder."""
    folder.mkdir()
    build_encoded(corpus.path, tokenizer, folder)
    return folder


def unsaid(folder):
    """What a folder of ids was before tables said whose they are."""
    for path in folder.glob("*.arrow"):
        table = read_table(path)
        aside = path.with_suffix(".aside")  # what is mapped is not written over
        write_table(aside, of_pieces(table, None))
        aside.rename(path)
    return folder


def translations(tokenizer, corpus, folder):
    """References as translations, with their ids. -> their folder."""
    table = Corpus(corpus.path).table(Split.TRAIN)
    texts = table[Column.REF].to_pylist()
    folder.mkdir()
    encoded = EncodedSplit.load(made_with(tokenizer, corpus, folder / "ids"), Split.TRAIN)
    columns = {
        Column.PAIR_ID: encoded.pair_ids,
        Column.SRC_HASH: encoded.src_hashes,
        Column.HYP_RANK: pa.array(np.zeros(len(texts)), pa.int32()),
        Column.HYP: pa.array(texts, pa.large_string()),
        Column.HYP_IDS: pa.array(tokenizer.encode_tgt(texts), pa.list_(pa.uint16())),
        Column.HYP_SCORE: pa.array(np.zeros(len(texts)), pa.float32()),
        Column.FINISHED: pa.array([True] * len(texts)),
    }
    write_table(folder / FILE, of_pieces(pa.table(columns), tokenizer.checksum))
    return folder


def test_what_a_table_says_outlives_all_that_is_done_with_it(tokenizers, toy_corpus, tmp_path):
    one, other = tokenizers
    encoded = made_with(one, toy_corpus, tmp_path / "encoded")
    for split in (Split.TRAIN, Split.DEV):
        assert EncodedSplit.load(encoded, split).pieces == one.checksum
    assert EncodedSplit.load(unsaid(encoded), Split.DEV).pieces is None
    hyps = translations(one, toy_corpus, tmp_path / "hyps")
    assert Hypotheses.load(hyps).pieces == one.checksum
    other.save(tmp_path)
    fetch = {"hypotheses": hyps, "tokenizer": tmp_path}
    job = RecodingJob(KEY, Key("tokenizer", 1, {}), Key("encoded", 1, {}))
    (tmp_path / "recoded").mkdir()
    job.make(tmp_path / "recoded", lambda key: fetch[key.stage], threads=1)
    recoded = read_translations(tmp_path / "recoded")
    assert pieces_of(recoded) == other.checksum
    assert pieces_of(of_pieces(recoded, None)) is None
    assert of_pieces(recoded, "x").equals(recoded)


def test_unknown_pieces_pass_and_others_do_not(tmp_path):
    for found, wanted in ((None, "a"), ("a", None), ("a", "a"), (None, None)):
        check_pieces(found, wanted, what=tmp_path, of="it")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}: its ids are of the tokenizer a")):
        check_pieces("a", "b", what=tmp_path, of="it")


def test_rows_of_old_tables_are_looked_at(tokenizers, toy_corpus, tmp_path):
    texts = Corpus(toy_corpus.path).table(Split.DEV)[Column.REF].to_pylist()
    for made in tokenizers:
        ids = made.encode_tgt(texts)
        for met in tokenizers:
            if met is made:
                check_rows(ids, texts, met, what=tmp_path)
                check_rows([], [], met, what=tmp_path)
            else:
                with pytest.raises(DataError, match="its ids are not those of the tokenizer"):
                    check_rows(ids, texts, met, what=tmp_path)
    with pytest.raises(DataError, match="its ids are not those"):  # more than it has pieces
        check_rows([[1000]] * 3, ["a", "b", "c"], tokenizers[0], what=tmp_path)


@pytest.mark.parametrize("says", [True, False])
def test_a_training_refuses_ids_of_other_pieces(
    tokenizers, toy_corpus, toy_job, changed_job, tmp_path, says
):
    other = made_with(tokenizers[1], toy_corpus, tmp_path / "other")
    job = changed_job(
        toy_job, folder=tmp_path / "work", encoded=Brought(other if says else unsaid(other), "x")
    )
    with pytest.raises(DataError, match=r"other: its ids are"):
        job.run(Worker(), threads=1)


def test_a_training_refuses_a_teacher_of_other_pieces(tokenizers, toy_job, changed_job, tmp_path):
    shape = toy_job.shape(tokenizers[1])
    folder = tmp_path / "teacher"
    folder.mkdir()
    save_model(folder, shape, tensors(shape.build()))
    teacher = OwnModels((Brought(folder, "teacher"),))
    job = changed_job(toy_job, folder=tmp_path / "work", teacher=teacher)
    with pytest.raises(DataError, match=r"teacher: its ids are of .* and the student's tokenizer"):
        job.run(Worker(), threads=1)


def test_translations_of_other_pieces_are_neither_joined_nor_gone_on_from(
    tokenizers, toy_corpus, tmp_path
):
    folder = tmp_path / "both"
    folder.mkdir()
    for number, tokenizer in enumerate(tokenizers):
        made = translations(tokenizer, toy_corpus, tmp_path / f"{number}")
        (folder / f"{number:06d}").mkdir()
        (made / FILE).rename(folder / f"{number:06d}" / FILE)
    with pytest.raises(DataError, match="both: its ids are of the tokenizer"):
        read_translations(folder)
    hashes = EncodedSplit.load(tmp_path / "0" / "ids", Split.TRAIN).src_hashes[:3]
    note_earlier(tmp_path, [KEY])
    for pieces, known in ((tokenizers[0].checksum, 3), (tokenizers[1].checksum, 0), (None, 0)):
        earlier = Earlier.load(tmp_path, lambda _: folder / "000000", pieces=pieces)
        assert len(earlier.of(hashes)) == known


def test_a_text_is_not_encoded_in_two_ways(tokenizers, toy_corpus, tmp_path):
    one, other = tokenizers
    one.save(tmp_path)
    fetch = {"corpus": toy_corpus.path, "tokenizer": tmp_path}
    encoding = Encoding(Key("corpus", 1, {}), Key("tokenizer", 1, {}))
    shards = tmp_path / "encoding"
    (shards / "000000").mkdir(parents=True)
    encoding.builder(tmp_path, lambda key: fetch[key.stage], device="cpu")(0, 1, shards / "000000")
    with pytest.raises(DataError, match=r"encoding: its ids are of the tokenizer"):
        join_encoded(toy_corpus.path, other, shards, tmp_path)
