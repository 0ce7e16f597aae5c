"""Tiny random models of Hugging Face, a folder of each class, with tokenizers that know toy words.

Weights are drawn with a deviation of 0.3: with the usual 0.02 all logits are nearly equal, and
outputs that agree prove nothing.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece as spm
import torch

SHAPE = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "init_std": 0.3,
    "max_position_embeddings": 64, "dropout": 0.0,
}  # fmt: skip


def pieces_of(lines: Sequence[str], size: int, *, kind: str = "unigram", **special: Any) -> bytes:
    """A SentencePiece model of some lines, with special ids as tools have them by default."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=size, model_type=kind,
        hard_vocab_limit=False, minloglevel=2, **special,
    )  # fmt: skip
    return model.getvalue()


def names_of(model: bytes) -> list[str]:
    """Its pieces without the special ones."""
    processor = spm.SentencePieceProcessor(model_proto=model)
    ids = range(processor.get_piece_size())
    return [
        processor.id_to_piece(i)
        for i in ids
        if not (processor.is_control(i) or processor.is_unknown(i))
    ]


def finish(model: torch.nn.Module, folder: Path) -> None:
    """Draw what is made as zeros too, and save."""
    torch.manual_seed(3)
    bias = getattr(model, "final_logits_bias", None)
    if bias is not None:
        bias.normal_(0, 0.5)
    model.eval().save_pretrained(folder)


def marian(folder: Path, src: Sequence[str], tgt: Sequence[str], *, separate: bool = False) -> None:
    """OPUS-MT, with one vocabulary or two of different sizes."""
    from transformers import MarianConfig, MarianMTModel

    sides = {"source.spm": pieces_of(src, 40), "target.spm": pieces_of(tgt, 26, kind="bpe")}
    for name, model in sides.items():
        (folder / name).write_bytes(model)
    src_names, tgt_names = map(names_of, sides.values())
    codes = [">>deu<<", ">>fra<<"] if not separate else []
    joint = list(dict.fromkeys((*src_names, *tgt_names)))
    vocabularies = {"vocab.json": joint + codes}
    if separate:
        vocabularies = {"vocab.json": src_names, "target_vocab.json": tgt_names}
    sizes = []
    for name, pieces in vocabularies.items():
        whole = ["</s>", "<unk>", *pieces, "<pad>"]
        (folder / name).write_text(json.dumps({piece: i for i, piece in enumerate(whole)}))
        sizes.append(len(whole))
    settings = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": separate}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(1)
    pad = sizes[-1] - 1
    config = MarianConfig(
        vocab_size=sizes[0], decoder_vocab_size=sizes[-1], pad_token_id=pad, eos_token_id=0,
        decoder_start_token_id=pad, share_encoder_decoder_embeddings=not separate,
        activation_function="swish", scale_embedding=True, forced_eos_token_id=None, **SHAPE,
    )  # fmt: skip
    finish(MarianMTModel(config), folder)


def m2m100(folder: Path, src: Sequence[str], tgt: Sequence[str]) -> None:
    """M2M100, whose tokenizer does not list its languages."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    model = pieces_of([*src, *tgt], 60)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    whole = ["<s>", "<pad>", "</s>", "<unk>", *names_of(model)]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(whole)}))
    settings = {"tokenizer_class": "M2M100Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(1)
    config = M2M100Config(vocab_size=len(whole) + 108, scale_embedding=True, **SHAPE)
    finish(M2M100ForConditionalGeneration(config), folder)


def nllb(folder: Path, src: Sequence[str], tgt: Sequence[str]) -> None:
    """NLLB: the model of M2M100 with another tokenizer."""
    from tokenizers import AddedToken
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    (folder / "sentencepiece.bpe.model").write_bytes(pieces_of([*src, *tgt], 60, kind="bpe"))
    settings = {"tokenizer_class": "NllbTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = NllbTokenizer.from_pretrained(folder)
    (folder / "sentencepiece.bpe.model").unlink()
    tags = ("eng_Latn", "deu_Latn", "rus_Cyrl")
    tokenizer.add_tokens([AddedToken(tag, special=True) for tag in tags])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = M2M100Config(vocab_size=len(tokenizer), scale_embedding=True, **SHAPE)
    finish(M2M100ForConditionalGeneration(config), folder)


def mbart50(folder: Path, src: Sequence[str], tgt: Sequence[str]) -> None:
    """mBART of 50 languages."""
    from transformers import MBart50Tokenizer, MBartConfig, MBartForConditionalGeneration

    (folder / "sentencepiece.bpe.model").write_bytes(pieces_of([*src, *tgt], 60))
    settings = {"tokenizer_class": "MBart50Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = MBart50Tokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    config = MBartConfig(
        vocab_size=len(tokenizer), scale_embedding=True, decoder_start_token_id=2,
        forced_eos_token_id=None, **SHAPE,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    finish(MBartForConditionalGeneration(config), folder)


def madlad(folder: Path, src: Sequence[str], tgt: Sequence[str], *, kind: str = "T5") -> None:
    """MADLAD: a T5 whose output matrix is its own, with tags of languages among its pieces."""
    import transformers
    from transformers import T5Tokenizer

    config_class = getattr(transformers, f"{kind}Config")
    model_class = getattr(transformers, f"{kind}ForConditionalGeneration")
    tags = ["<2de>", "<2fr>"]
    model = pieces_of(
        [*src, *tgt], 60, pad_id=1, eos_id=2, unk_id=0, bos_id=-1, pad_piece="<s>",
        user_defined_symbols=tags,
    )  # fmt: skip
    (folder / "spiece.model").write_bytes(model)
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "pad_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = T5Tokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = config_class(
        vocab_size=len(tokenizer) + 3, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
        pad_token_id=1, eos_token_id=2, dropout_rate=0.0, initializer_factor=1.0,
    )  # fmt: skip
    model = model_class(config)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    finish(model, folder)


def mt5(folder: Path, src: Sequence[str], tgt: Sequence[str]) -> None:
    """mT5: T5 of another name."""
    madlad(folder, src, tgt, kind="MT5")


MODELS = {
    "marian": (marian, {"tgt_lang": "deu"}),
    "m2m100": (m2m100, {"src_lang": "en", "tgt_lang": "de"}),
    "nllb": (nllb, {"src_lang": "eng_Latn", "tgt_lang": "deu_Latn"}),
    "mbart50": (mbart50, {"src_lang": "en_XX", "tgt_lang": "de_DE"}),
    "madlad": (madlad, {"tgt_lang": "de"}),
    "mt5": (mt5, {"tgt_lang": "fr"}),
}
