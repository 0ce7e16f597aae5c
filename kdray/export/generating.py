"""A folder of Hugging Face that translates as its users let it: `generate` of transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from kdray.export.pegasus import missing_extra
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Translation
from kdray.text.tokenizer import EOS

BATCH = 32  # sources that are generated together


@dataclass(frozen=True, slots=True)
class GeneratingEngine:
    """A model and a tokenizer of transformers; see `Engine`. It gives no scores."""

    model: Any
    tokenizer: Any
    positions: int

    @property
    def vocabulary(self) -> int:
        """Number of target pieces."""
        return int(self.model.config.vocab_size)

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """See `Engine`."""
        ids = self.tokenizer(list(src), verbose=False)["input_ids"] if src else []
        fits = [row for row, pieces in enumerate(ids) if len(pieces) <= self.positions]
        order = sorted(fits, key=lambda row: len(ids[row]))
        found: list[list[Translation]] = [[] for _ in src]
        for length, group in groupby(order, key=lambda row: len(ids[row])):
            rows = list(group)
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                translations = self._generate([ids[row] for row in part], length, options)
                for row, best in zip(part, translations, strict=True):
                    found[row] = best
        return found

    @torch.inference_mode()
    def _generate(
        self, src: list[list[int]], length: int, options: SearchOptions
    ) -> list[list[Translation]]:
        """Of sources that are equally long, which need no padding and have one limit."""
        limit = options.max_length(length, positions=self.positions)
        written = self.model.generate(
            input_ids=torch.tensor(src),
            attention_mask=torch.ones(len(src), length, dtype=torch.long),
            num_beams=options.beam,
            num_return_sequences=options.num_hyps,
            length_penalty=options.length_penalty,
            max_length=limit + 1,  # with the token that begins it
            do_sample=False,
        )
        hyps = [_until_end(row) for row in written[:, 1:].tolist()]
        texts = self.tokenizer.batch_decode(hyps, skip_special_tokens=True)
        made = [
            Translation(text.strip(), 0.0, finished=ids[-1:] == [EOS], ids=ids)
            for text, ids in zip(texts, hyps, strict=True)
        ]
        n = options.num_hyps
        return [made[start : start + n] for start in range(0, len(made), n)]


def open_pegasus(config: object, folder: Path, /, *, positions: int, threads: int) -> Any:  # noqa: ANN401
    """Load a folder as a user of transformers does. -> an `Engine`.

    Raises:
        ConfigError: a package of the extra is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise missing_extra(error.name) from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(str(folder)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    return GeneratingEngine(model, tokenizer, positions)


def _until_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids
