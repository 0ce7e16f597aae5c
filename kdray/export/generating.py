"""A folder of Hugging Face that translates as its users let it: `generate` of transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdray.export.pegasus import missing_extra
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Translation
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS, PAD

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
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            translations = self._generate([ids[row] for row in rows], options)
            for row, best in zip(rows, translations, strict=True):
                found[row] = best
        return found

    @torch.inference_mode()
    def _generate(self, src: list[list[int]], options: SearchOptions) -> list[list[Translation]]:
        """Of sources of similar lengths, which are padded to the last one's.

        What is generated for a short one may become as long as for that, and is cut.
        """
        padded = torch.from_numpy(Sequences.from_lists(src).padded(np.arange(len(src)), pad=PAD))
        limits = [options.max_length(len(ids), positions=self.positions) for ids in src]
        n = options.num_hyps
        written = self.model.generate(
            input_ids=padded,
            attention_mask=(padded != PAD).long(),
            num_beams=options.beam,
            num_return_sequences=n,
            length_penalty=options.length_penalty,
            max_length=max(limits) + 1,  # with the token that begins it
            do_sample=False,
        )
        hyps = [
            _until_end(row)[: limits[number // n]]
            for number, row in enumerate(written[:, 1:].tolist())
        ]
        texts = self.tokenizer.batch_decode(hyps, skip_special_tokens=True)
        made = [
            Translation(text.strip(), 0.0, finished=ids[-1:] == [EOS], ids=ids)
            for text, ids in zip(texts, hyps, strict=True)
        ]
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
