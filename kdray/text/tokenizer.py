"""Tokenizers: SentencePiece models that turn text into the ids of a vocabulary, and back.

Both sides end with `</s>`. The special pieces have the same ids in every model:
`<pad>` 0, `<unk>` 1, `<s>` 2, `</s>` 3.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm

from kdray.artifacts import Key, sha256_file
from kdray.config.text import TokenizerConfig
from kdray.errors import DataError
from kdray.schema import Column, Split
from kdray.text.corpus import Corpus

VERSION = 1
PAD, UNK, BOS, EOS = 0, 1, 2, 3
FILES = JOINT, SRC, TGT = "joint.model", "src.model", "tgt.model"
MAX_LINE_BYTES = 1 << 24  # with its default of 4192, SentencePiece silently skips longer lines


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A pair of SentencePiece models; for a joint vocabulary both are the same one."""

    src: spm.SentencePieceProcessor
    tgt: spm.SentencePieceProcessor
    joint: bool
    checksum: str  # of the model files: equal checksums mean equal vocabularies

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read the models of a folder.

        Raises:
            DataError: there are none, or they are not SentencePiece models with our special ids.
        """
        names = [JOINT] if (folder / JOINT).exists() else [SRC, TGT]
        src, tgt = _load(folder / names[0]), _load(folder / names[-1])
        checksum = "-".join(sha256_file(folder / name)[:16] for name in names)
        return cls(src=src, tgt=tgt, joint=len(names) == 1, checksum=checksum)

    @property
    def src_vocab(self) -> int:
        """Number of source pieces."""
        return int(self.src.get_piece_size())

    @property
    def tgt_vocab(self) -> int:
        """Number of target pieces."""
        return int(self.tgt.get_piece_size())

    def encode_src(self, texts: Sequence[str]) -> list[list[int]]:
        """Source texts to ids, each ending with `</s>`."""
        return _encode(self.src, texts)

    def src_length(self, text: str) -> int:
        """How many ids a source text has, `</s>` among them; for one, this starts no threads."""
        return len(self.src.encode(text)) + 1

    def encode_tgt(self, texts: Sequence[str]) -> list[list[int]]:
        """Target texts to ids, each ending with `</s>`."""
        return _encode(self.tgt, texts)

    def decode_src(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """Source ids to texts, without the special pieces and spaces around."""
        return _decode(self.src, ids)

    def decode_tgt(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """Target ids to texts, without the special pieces and spaces around."""
        return _decode(self.tgt, ids)

    def src_pieces(self) -> list[str]:
        """The source vocabulary in the order of its ids."""
        return _pieces(self.src)

    def tgt_pieces(self) -> list[str]:
        """The target vocabulary in the order of its ids."""
        return _pieces(self.tgt)

    def save(self, folder: Path) -> None:
        """Write the model files that `load` reads."""
        models = {JOINT: self.src} if self.joint else {SRC: self.src, TGT: self.tgt}
        for name, model in models.items():
            (folder / name).write_bytes(model.serialized_model_proto())


def tokenizer_key(config: TokenizerConfig, corpus: Key) -> Key:
    """Identity of the tokenizer that a corpus gives."""
    return Key(
        stage="tokenizer",
        version=VERSION,
        recipe=config.model_dump(mode="json"),
        inputs={"corpus": corpus.fingerprint},
    )


def build_tokenizer(config: TokenizerConfig, corpus: Path, folder: Path) -> Mapping[str, Any]:
    """Train on the corpus's training text and write the models. -> counts.

    Raises:
        DataError: the text has too few distinct pieces for the vocabulary asked for.
    """
    table = Corpus(corpus).table(Split.TRAIN)
    sides = {SRC: table[Column.SRC], TGT: table[Column.REF]}
    rows = _sample(table.num_rows, config.max_sentences)
    texts = {name: column.take(rows).to_pylist() for name, column in sides.items()}
    if config.joint:
        texts = {JOINT: texts[SRC] + texts[TGT]}
    for name, lines in texts.items():
        (folder / name).write_bytes(_train(config, lines))
    tokenizer = Tokenizer.load(folder)
    return {
        "src_vocab": tokenizer.src_vocab,
        "tgt_vocab": tokenizer.tgt_vocab,
        "checksum": tokenizer.checksum,
        "sentences": len(rows),
    }


def _sample(rows: int, most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(1).choice(rows, size=most, replace=False))


def _train(config: TokenizerConfig, lines: Sequence[str]) -> bytes:
    model = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=(line for line in lines if line),
            model_writer=model,
            model_type=config.model_type,
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            byte_fallback=config.byte_fallback,
            normalization_rule_name=config.normalization,
            max_sentence_length=MAX_LINE_BYTES,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(
            f"recipe.tokenizer.vocab_size {config.vocab_size}: SentencePiece cannot train on these "
            f"{len(lines)} sentences: {reason}"
        ) from None
    return model.getvalue()


def _load(path: Path) -> spm.SentencePieceProcessor:
    try:
        model = spm.SentencePieceProcessor(model_proto=path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{path.parent}: no {JOINT} and no {path.name}; a tokenizer is one joint SentencePiece "
            "model or one for each side"
        ) from None
    except RuntimeError:
        raise DataError(f"{path}: not a SentencePiece model; copy it again") from None
    ids = (model.pad_id(), model.unk_id(), model.bos_id(), model.eos_id())
    if ids != (PAD, UNK, BOS, EOS):
        raise DataError(
            f"{path}: ids of <pad>, <unk>, <s>, </s> are {ids}, not {(PAD, UNK, BOS, EOS)}; "
            "train the model with --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3"
        )
    return model


def _encode(model: spm.SentencePieceProcessor, texts: Sequence[str]) -> list[list[int]]:
    return [[int(i) for i in row] for row in model.encode(list(texts), add_eos=True)]


def _decode(model: spm.SentencePieceProcessor, ids: Iterable[Sequence[int]]) -> list[str]:
    plain = [[int(i) for i in row if i not in (PAD, BOS, EOS)] for row in ids]
    return [str(text).strip() for text in model.decode(plain)]  # a model may end with a space


def _pieces(model: spm.SentencePieceProcessor) -> list[str]:
    return [str(model.id_to_piece(i)) for i in range(model.get_piece_size())]
