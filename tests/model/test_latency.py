"""What measuring a latency leaves alone, and that any length will do."""

import math

import torch

from kdray.config.model import ModelConfig
from kdray.model.latency import latency
from kdray.model.storage import Shape


def test_latency_is_measured_without_a_trace(toy_tokenizers):
    tokenizer = toy_tokenizers["joint"]
    shape = Shape(
        config=ModelConfig(preset="nano", max_length=12),
        src_vocab=tokenizer.src_vocab,
        tgt_vocab=tokenizer.tgt_vocab,
        shared=tokenizer.joint,
        tokenizer=tokenizer.checksum,
    )
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    for tokens in (1, 7, 400):  # the last is longer than the model's positions
        milliseconds = latency(shape, tokenizer, src_tokens=tokens, tgt_tokens=tokens, beam=2)
        assert 0 < milliseconds < math.inf
    assert torch.equal(torch.random.get_rng_state(), state), "trainings draw the same afterwards"
    assert torch.get_num_threads() == threads
