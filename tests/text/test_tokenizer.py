"""A tokenizer gives text back, agrees on the special ids, and says why it cannot be used."""

import io
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece as spm
from hypothesis import given
from hypothesis import strategies as st

from kdray.artifacts import Artifact, Key
from kdray.config.text import TokenizerConfig
from kdray.errors import DataError
from kdray.schema import Column
from kdray.text.tokenizer import (
    BOS,
    EOS,
    JOINT,
    PAD,
    SRC,
    TGT,
    UNK,
    Tokenizer,
    build_tokenizer,
    tokenizer_key,
)

SMALL = TokenizerConfig(model_type="bpe", vocab_size=60)
SEPARATE = TokenizerConfig(model_type="bpe", vocab_size=30, joint=False)


@pytest.fixture(params=["joint", "separate"])
def tokenizer(request, toy_tokenizers):
    return toy_tokenizers[request.param]


def corpus_of(folder, pairs):
    src, ref = zip(*pairs, strict=True)
    table = {Column.PAIR_ID: list(range(len(pairs))), Column.SRC: src, Column.REF: ref}
    pq.write_table(pa.table(table), folder / "train.parquet")
    return Artifact(Key("corpus", 1, {}), folder, {})


def foreign_model(lines, **options):
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def test_text_comes_back(tokenizer, toy_pairs):
    src, ref = zip(*toy_pairs[:100], strict=True)
    assert tokenizer.decode_tgt(tokenizer.encode_tgt(ref)) == list(ref)
    if tokenizer.joint:
        assert tokenizer.decode_tgt(tokenizer.encode_src(src)) == list(src)


@pytest.mark.slow
@given(st.text(max_size=40))
def test_every_text_gives_valid_ids_that_end_with_eos(toy_tokenizers, text):
    for tokenizer in toy_tokenizers.values():
        for encode, size in (
            (tokenizer.encode_src, tokenizer.src_vocab),
            (tokenizer.encode_tgt, tokenizer.tgt_vocab),
        ):
            ((*ids, last),) = encode([text])
            assert last == EOS
            assert not {PAD, BOS, EOS} & set(ids)
            assert all(UNK <= i < size for i in ids)


def test_encoding_keeps_the_order_and_the_count(tokenizer):
    texts = ["ba de", "", "fi"]
    together = tokenizer.encode_src(texts)
    assert together == [tokenizer.encode_src([text])[0] for text in texts]
    assert [len(ids) for ids in together] == [tokenizer.src_length(text) for text in texts]
    assert together[1] == [EOS]
    assert tokenizer.encode_src([]) == []


def test_special_pieces_have_the_same_ids_everywhere(tokenizer):
    for pieces, size in (
        (tokenizer.src_pieces(), tokenizer.src_vocab),
        (tokenizer.tgt_pieces(), tokenizer.tgt_vocab),
    ):
        assert [pieces[i] for i in (PAD, UNK, BOS, EOS)] == ["<pad>", "<unk>", "<s>", "</s>"]
        assert len(set(pieces)) == len(pieces) == size


def test_special_pieces_vanish_from_text(tokenizer):
    (ids,) = tokenizer.encode_tgt(["wox vuz"])
    assert tokenizer.decode_tgt([[BOS, *ids, PAD, PAD], [EOS], []]) == ["wox vuz", "", ""]
    assert tokenizer.decode_tgt([]) == []


def test_joint_is_one_vocabulary_and_separate_are_two(toy_tokenizers):
    joint, separate = toy_tokenizers["joint"], toy_tokenizers["separate"]
    assert joint.joint
    assert joint.src_pieces() == joint.tgt_pieces()
    assert not separate.joint
    assert separate.src_pieces() != separate.tgt_pieces()
    assert UNK in separate.encode_tgt(["ba"])[0]  # a source word is no target text
    assert UNK not in joint.encode_tgt(["ba"])[0]


def test_saved_models_load_the_same(tokenizer, tmp_path, toy_pairs):
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    src, ref = (list(side) for side in zip(*toy_pairs[:20], strict=True))
    assert loaded.encode_src(src) == tokenizer.encode_src(src)
    assert loaded.encode_tgt(ref) == tokenizer.encode_tgt(ref)
    assert (loaded.joint, loaded.checksum) == (tokenizer.joint, tokenizer.checksum)


def test_training_again_gives_the_same_models(toy_corpus, tmp_path):
    counts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        counts.append(build_tokenizer(SEPARATE, toy_corpus.path, tmp_path / name))
    assert counts[0] == counts[1]
    assert counts[0]["sentences"] == 350
    assert (counts[0]["src_vocab"], counts[0]["tgt_vocab"]) == (30, 30)


def test_the_sides_of_a_separate_tokenizer_are_not_mixed_up(toy_corpus, tmp_path):
    build_tokenizer(SEPARATE, toy_corpus.path, tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    assert UNK not in tokenizer.encode_src(["ba de fi"])[0]
    assert UNK not in tokenizer.encode_tgt(["wox vuz yat"])[0]
    assert UNK in tokenizer.encode_src(["wox"])[0]


def test_fewer_sentences_are_sampled_with_a_fixed_seed(toy_corpus, tmp_path):
    config = SMALL.model_copy(update={"max_sentences": 50})
    counts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        counts.append(build_tokenizer(config, toy_corpus.path, tmp_path / name))
    assert counts[0] == counts[1]
    assert counts[0]["sentences"] == 50


def test_long_lines_are_trained_on(tmp_path):
    """SentencePiece leaves out lines above 4192 bytes unless it is told otherwise."""
    corpus = corpus_of(tmp_path, [("a b", "c d"), ("e f", "g h"), ("ж " * 3000, "a")])
    build_tokenizer(TokenizerConfig(model_type="bpe", vocab_size=16), corpus.path, tmp_path)
    assert UNK not in Tokenizer.load(tmp_path).encode_src(["ж"])[0]


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_too_large_a_vocabulary_is_refused_with_both_numbers(toy_corpus, tmp_path, model_type):
    config = TokenizerConfig(model_type=model_type, vocab_size=5000)
    with pytest.raises(DataError, match=r"vocab_size 5000: .*700 sentences: .*a value <= \d+"):
        build_tokenizer(config, toy_corpus.path, tmp_path)


def test_too_small_a_vocabulary_is_refused_with_both_numbers(toy_corpus, tmp_path):
    config = TokenizerConfig(model_type="bpe", vocab_size=16)
    with pytest.raises(DataError, match=r"vocab_size 16: .*16 vs \d+"):
        build_tokenizer(config, toy_corpus.path, tmp_path)


def test_special_ids_of_a_foreign_model_are_checked(tmp_path, toy_pairs):
    lines = [src for src, _ in toy_pairs]
    (tmp_path / JOINT).write_bytes(foreign_model(lines, vocab_size=40))
    with pytest.raises(DataError, match=rf"{JOINT}: ids .* are \(-1, 0, 1, 2\), .*--pad_id=0"):
        Tokenizer.load(tmp_path)


def test_a_foreign_model_with_our_ids_is_welcome(tmp_path, toy_pairs):
    lines = [src for src, _ in toy_pairs]
    model = foreign_model(lines, vocab_size=40, pad_id=0, unk_id=1, bos_id=2, eos_id=3)
    (tmp_path / SRC).write_bytes(model)
    (tmp_path / TGT).write_bytes(model)
    assert not Tokenizer.load(tmp_path).joint


def test_missing_models_are_named(tmp_path, toy_tokenizers):
    with pytest.raises(DataError, match=rf"{tmp_path}: no {JOINT} and no {SRC}"):
        Tokenizer.load(tmp_path)
    toy_tokenizers["separate"].save(tmp_path)
    (tmp_path / TGT).unlink()
    with pytest.raises(DataError, match=rf"{tmp_path}: no {JOINT} and no {TGT}"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_what_is_no_model_is_named(tmp_path, content, caplog):
    (tmp_path / JOINT).write_bytes(content)
    with caplog.at_level(logging.ERROR), pytest.raises(DataError, match=str(tmp_path / JOINT)):
        Tokenizer.load(tmp_path)


def test_key_depends_on_the_config_and_the_corpus():
    corpora = [Key("corpus", 1, {"seed": seed}) for seed in (1, 2)]
    keys = {tokenizer_key(c, k).fingerprint for c in (SMALL, SEPARATE) for k in corpora}
    assert len(keys) == 4
    assert tokenizer_key(SMALL, corpora[0]).fingerprint in keys
