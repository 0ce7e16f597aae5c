"""How long a model takes for one sentence on a CPU, by its shape alone.

Weights are drawn at random, and every translation is made as long as it is told to be: so a model
that says little is not taken for a fast one, and equal shapes have equal latencies.
"""

import tempfile
import time
from pathlib import Path

import torch

from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.storage import Shape
from kdray.text.tokenizer import EOS, Tokenizer

SECONDS, REPEATS = 0.5, 10
"""How long it is measured, and how often at least. The fastest time counts, since other work on the
machine only slows down."""


def latency(
    shape: Shape, tokenizer: Tokenizer, *, src_tokens: int, tgt_tokens: int, beam: int
) -> float:
    """Milliseconds for one sentence of so many tokens, alone in its batch, on one thread.

    In float32 by CTranslate2, with a beam. A length includes `</s>` and is cut to the model's
    positions.
    """
    positions = shape.config.max_length
    src, tgt = (max(2, min(tokens, positions)) for tokens in (src_tokens, tgt_tokens))
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        export(shape.build().eval(), tokenizer, Path(folder) / "model")
        fast = FastTranslator(Path(folder) / "model", tokenizer, positions=positions, threads=1)
        pieces = [fast.src_pieces[EOS + 1 + number % 8] for number in range(src - 1)]
        sentence = [[*pieces, fast.src_pieces[EOS]]]
        seconds: list[float] = []
        while len(seconds) <= REPEATS or sum(seconds) < SECONDS:
            began = time.perf_counter()
            fast.translator.translate_batch(
                sentence,
                beam_size=beam,
                min_decoding_length=tgt,
                max_decoding_length=tgt,
                max_input_length=0,
            )
            seconds.append(time.perf_counter() - began)
    return 1000 * min(seconds[1:])  # the first one warms up
