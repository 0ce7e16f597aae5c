"""A CTranslate2 model that translates pieces to pieces, whatever tool it was converted from."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.errors import DataError
from kdray.model.generate import SearchOptions
from kdray.model.memory import tokens_per_batch


@dataclass(frozen=True, slots=True)
class Found:
    """A translation as pieces, without those that it was made to begin with, and without the end.

    score: the sum of the log-probabilities of its pieces and of its end, not normalised.
    finished: whether it ended before the length limit.
    """

    pieces: list[str]
    score: float
    finished: bool


class PieceTranslator:
    """Searches with a model; each thread translates batches of its own.

    Args:
        folder: where the model is.
        positions: most pieces of a source or a translation; None: there is no limit.
        threads: how many.
        device: `cpu` or `cuda`.
        compute_type: what it computes in; weights of another type are converted when it is loaded.
            On a CPU, float32 stands for the types of 16 bits, which few have.
        end: the piece that ends a sequence.
        never: pieces that no translation has, beside the unknown one; the model need not have them.
        added: how many pieces the model adds to each source itself, such as its end.

    Raises:
        DataError: the folder holds no model that can be read, or the device cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        positions: int | None,
        threads: int,
        device: str = "cpu",
        compute_type: str = "float32",
        end: str = "</s>",
        never: Collection[str] = (),
        added: int = 0,
    ) -> None:
        import ctranslate2  # takes seconds: see model/ctranslate2.py

        if device == "cpu" and compute_type in ("float16", "bfloat16"):
            compute_type = "float32"
        try:
            self.translator = ctranslate2.Translator(
                str(folder),
                device=device,
                inter_threads=threads,
                intra_threads=1,
                compute_type=compute_type,
            )
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"{folder}: CTranslate2 cannot load it as {compute_type} on {device}: {error}"
            ) from None
        known = set(target_vocabulary(folder))
        self.positions, self.end, self.added = positions, end, added
        self.never = sorted(known.intersection(never))

    def search(
        self,
        src: Sequence[Sequence[str]],
        options: SearchOptions,
        *,
        prefix: Sequence[str] = (),
        most_tokens: int | None = None,
    ) -> list[list[Found]]:
        """The best `num_hyps` translations of each source, best first, in the order given.

        Every translation is made to begin with the prefix. A source that is longer than the
        model's positions has none. A batch has `most_tokens`; None: as many as the process has.
        """
        most = tokens_per_batch() if most_tokens is None else most_tokens
        by_length: dict[int, list[int]] = {}
        for row, pieces in enumerate(src):
            if self.positions is None or len(pieces) + self.added <= self.positions:
                by_length.setdefault(len(pieces), []).append(row)
        queued = [
            (rows, self._submit([src[row] for row in rows], options, prefix, most))
            for _, rows in sorted(by_length.items())
        ]
        results: list[list[Found]] = [[] for _ in src]
        for rows, futures in queued:
            for row, future in zip(rows, futures, strict=True):
                results[row] = self._found(future.result(), options, given=len(prefix))
        return results

    def _submit(
        self,
        src: list[Sequence[str]],
        options: SearchOptions,
        prefix: Sequence[str],
        most_tokens: int,
    ) -> list[Any]:
        """Queue sources of equal length: a call has one length limit for all."""
        positions = self.positions or 1 << 30
        futures: list[Any] = self.translator.translate_batch(
            src,
            target_prefix=[list(prefix)] * len(src) if prefix else None,
            beam_size=options.beam,
            num_hypotheses=options.num_hyps,
            length_penalty=options.length_penalty,
            max_batch_size=most_tokens,
            batch_type="tokens",
            max_decoding_length=options.max_length(
                len(src[0]) + self.added, positions=positions, given=len(prefix)
            ),
            min_decoding_length=len(prefix) + 1,  # so that the first piece is never the end
            max_input_length=0,  # else longer ones would be cut without a word
            suppress_sequences=[[piece] for piece in self.never] or None,
            disable_unk=True,
            return_scores=True,
            return_end_token=True,
            asynchronous=True,
        )
        return futures

    def _found(self, output: Any, options: SearchOptions, *, given: int) -> list[Found]:  # noqa: ANN401
        found = []
        for pieces, score in zip(output.hypotheses, output.scores, strict=True):
            finished = bool(pieces) and pieces[-1] == self.end
            total = score * max(len(pieces), 1) ** options.length_penalty
            own = pieces[given : len(pieces) - finished]
            found.append(Found(own, total, finished))
        return found


def target_vocabulary(folder: Path) -> list[str]:
    """The pieces that a model writes, in the order of their ids.

    Raises:
        DataError: the file of them is missing or damaged.
    """
    for stem in ("target_vocabulary", "shared_vocabulary"):
        for path in (folder / f"{stem}.json", folder / f"{stem}.txt"):
            if not path.is_file():
                continue
            try:
                text = path.read_text(encoding="utf-8")
                return list(json.loads(text)) if path.suffix == ".json" else text.split("\n")[:-1]
            except (OSError, ValueError) as error:
                raise DataError(f"{path}: cannot be read: {error}; convert it again") from None
    raise DataError(f"{folder}: holds no vocabulary of the target; convert the model again")
