"""A trained kdray model, written as a folder of Hugging Face and brought back as a teacher."""

import shutil

import numpy as np
import pytest
import sentencepiece as spm
import torch
from pegasus_teacher import pegasus_teacher
from sacrebleu import corpus_bleu
from sharded import fetch, own

from kdray.config.model import ModelConfig
from kdray.config.text import TokenizerConfig
from kdray.errors import DataError
from kdray.export.pegasus import write_pegasus, write_tokenizer
from kdray.model.generate import SearchOptions
from kdray.model.storage import Shape, load_model, save_model, tensors
from kdray.teacher.ensemble import read_pairs
from kdray.teacher.huggingface.loading import load_torch
from kdray.teacher.huggingface.teacher import shared_tokenizer
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import Tokenizer, build_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(all_translators, toy_tokenizers, shared_folder, tmp_path_factory):
    """A folder with the trained model, and the teacher that it became."""
    all_translators("joint")
    folder = tmp_path_factory.mktemp("round-trip")
    return pegasus_teacher(shared_folder / "translator-joint", toy_tokenizers["joint"], folder)


@pytest.fixture
def student(made):
    return made[0]


@pytest.fixture
def teacher(made):
    return made[1]


@pytest.fixture
def written(teacher):
    return teacher.origin.folder()


@pytest.mark.parametrize("beam", [1, 4])
def test_it_translates_as_the_model_does(student, teacher, toy_pairs, tmp_path, beam):
    src, refs = zip(*toy_pairs[400:480], strict=True)
    options = SearchOptions(beam=beam)
    model = own(student)
    model.prepare(tmp_path, fetch, device="cpu")
    theirs = model.open(fetch, device="cpu", threads=1, work=tmp_path).translate(src, options)
    ours = teacher.open(fetch, device="cpu", threads=1).translate(src, options)
    assert [best.ids for (best,) in ours] == [best.ids for (best,) in theirs]
    assert [best.score for (best,) in ours] == pytest.approx([b.score for (b,) in theirs], abs=1e-4)
    bleu = [corpus_bleu([b.text for (b,) in each], [refs]).score for each in (ours, theirs)]
    assert bleu[0] == bleu[1] > 50


def test_its_distributions_are_those_of_the_model(student, teacher, toy_pairs):
    tokenizer = Tokenizer.load(student)
    src, refs = zip(*toy_pairs[400:416], strict=True)
    ids = [Sequences.from_lists(tokenizer.encode_src(side)) for side in (src, refs)]
    rows = np.arange(16)
    ours, theirs = (t.reader(fetch, device="cpu") for t in (teacher, own(student)))
    (read, _), (other, _) = (read_pairs(each, *ids, rows) for each in (ours, theirs))
    for (block, _), (expected, _) in zip(read.blocks(), other.blocks(), strict=True):
        torch.testing.assert_close(block.log_probs(), expected.log_probs(), atol=1e-5, rtol=0)
    assert ours.positions == theirs.positions


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_logits_are_the_same_in_every_precision(student, written, dtype, most):
    model, pegasus = load_model(student).to(dtype), load_torch(written).to(dtype)
    generator = torch.Generator().manual_seed(1)
    src = torch.randint(4, model.src_vocab, (6, 12), generator=generator)
    src[1, 7:], src[4, 3:] = 0, 0
    tgt = torch.randint(4, model.tgt_vocab, (6, 9), generator=generator)
    tgt[:, 0] = 2
    with torch.no_grad():
        ours = model(src, src != 0, tgt)
        theirs = pegasus(
            input_ids=src, attention_mask=(src != 0).long(), decoder_input_ids=tgt, use_cache=False
        ).logits
    assert float((ours - theirs).abs().max()) < most
    assert float(ours.abs().max()) > 1


ODD = [
    "", "  two  spaces ", "\ttab and ﬁ ligature", "½ ² ™ Å é", "日本語 😀", "▁under_score",
    "U+2028 \u2028 and \u200b zero width", "ein.Satz,ohne-Leerzeichen!", "x" * 70,
]  # fmt: skip


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_its_fast_tokenizer_has_the_same_ids(toy_corpus, toy_pairs, tmp_path, kind, byte_fallback):
    from transformers import AutoTokenizer

    size = 300 if byte_fallback else 44
    config = TokenizerConfig(model_type=kind, vocab_size=size, byte_fallback=byte_fallback)
    build_tokenizer(config, toy_corpus.path, tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "pegasus"}')
    write_tokenizer(tokenizer, tmp_path, positions=64)
    fast = AutoTokenizer.from_pretrained(tmp_path)
    lines = [side for pair in toy_pairs[:200] for side in pair] + ODD
    ids = tokenizer.encode_src(lines)
    assert fast(lines, verbose=False)["input_ids"] == ids
    if byte_fallback:  # without, sentencepiece prints a sign for what is unknown
        decoded = fast.batch_decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert decoded == tokenizer.decode_tgt(ids)


def test_special_pieces_in_text_are_text(teacher):
    """To the teacher, as to its students; only the tokenizer of Hugging Face takes them as such."""
    engine = teacher.open(fetch, device="cpu", threads=1)
    (row,) = engine.codec.encode(["ba </s> de"])
    assert row.count(3) == 1


def test_a_vocabulary_for_each_side_has_no_such_form(toy_tokenizers, tmp_path):
    tokenizer = toy_tokenizers["separate"]
    shape = Shape(
        config=ModelConfig(preset="nano"),
        src_vocab=tokenizer.src_vocab,
        tgt_vocab=tokenizer.tgt_vocab,
        shared=False,
        tokenizer=tokenizer.checksum,
    )
    save_model(tmp_path, shape, tensors(shape.build()))
    tokenizer.save(tmp_path)
    with pytest.raises(DataError, match="has a vocabulary for each side, and no class"):
        write_pegasus(tmp_path, tmp_path)


def test_a_folder_without_a_tokenizer_of_kdray_is_not_shared(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "copy")
    (folder / "joint.model").unlink()
    with pytest.raises(DataError, match=r"not one that students can share.*recipe\.tokenizer"):
        shared_tokenizer(folder)
    model = spm.SentencePieceProcessor(model_proto=(written / "joint.model").read_bytes())
    assert model.get_piece_size() == load_torch(written).config.vocab_size
