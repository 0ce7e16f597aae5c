"""The encoded corpus has the pairs of the corpus in the same order, as ids."""

import pyarrow as pa
import pytest

from kdray.artifacts import Key
from kdray.errors import DataError
from kdray.schema import Column
from kdray.text import encoded as encoded_module
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit, build_encoded, encode_table, encoded_key
from kdray.text.tokenizer import EOS


@pytest.fixture(params=["joint", "separate"])
def tokenizer(request, toy_tokenizers):
    return toy_tokenizers[request.param]


def test_splits_come_back_pair_by_pair(toy_corpus, tokenizer, tmp_path):
    counts = build_encoded(toy_corpus.path, tokenizer, tmp_path)
    for split, size in (("train", 350), ("dev", 50)):
        table = Corpus(toy_corpus.path).table(split)
        encoded = EncodedSplit.load(tmp_path, split)
        src = tokenizer.encode_src(table[Column.SRC].to_pylist())
        ref = tokenizer.encode_tgt(table[Column.REF].to_pylist())
        assert encoded.pair_ids.tolist() == table[Column.PAIR_ID].to_pylist()
        assert [encoded.src[i].tolist() for i in range(size)] == src
        assert [encoded.ref[i].tolist() for i in range(size)] == ref
        assert len(encoded) == size
        assert counts[split] == {
            "pairs": size,
            "src_tokens": sum(map(len, src)),
            "ref_tokens": sum(map(len, ref)),
        }


def test_parts_of_a_table_change_nothing(toy_corpus, toy_tokenizers, monkeypatch):
    table, tokenizer = Corpus(toy_corpus.path).table("dev"), toy_tokenizers["joint"]
    whole = encode_table(table, tokenizer)
    monkeypatch.setattr(encoded_module, "ROWS_AT_A_TIME", 7)
    assert encode_table(table, tokenizer).equals(whole)


def test_an_empty_table_has_the_columns(toy_corpus, toy_tokenizers):
    table = Corpus(toy_corpus.path).table("dev")
    whole = encode_table(table, toy_tokenizers["joint"])
    assert encode_table(table.slice(0, 0), toy_tokenizers["joint"]).schema == whole.schema
    assert whole.schema.field(Column.SRC_IDS).type == pa.list_(pa.uint16())


def test_every_sequence_ends_with_eos(toy_corpus, toy_tokenizers, tmp_path):
    build_encoded(toy_corpus.path, toy_tokenizers["joint"], tmp_path)
    encoded = EncodedSplit.load(tmp_path, "train")
    for side in (encoded.src, encoded.ref):
        assert (side.values[side.offsets[1:] - 1] == EOS).all()
        assert (side.values == EOS).sum() == len(encoded)


def test_a_missing_split_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"{tmp_path / 'train.arrow'}: not a readable"):
        EncodedSplit.load(tmp_path, "train")


def test_key_depends_on_the_corpus_and_the_tokenizer():
    corpora = [Key("corpus", 1, {"seed": seed}) for seed in (1, 2)]
    assert len({encoded_key(c, t).fingerprint for c in corpora for t in ("a", "b")}) == 4
