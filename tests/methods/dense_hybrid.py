"""The hybrid and its gates, written out over whole distributions."""

import math

import torch
from dense_batch import Dense
from torch import Tensor

from kdray.config.gates import (
    CentredConfig,
    ConfidenceGateConfig,
    EntropyGateConfig,
    FixedGateConfig,
    NoStabiliserConfig,
    PriorConfig,
    ScalarGateConfig,
    ScheduleGateConfig,
    SentenceGateConfig,
    TokenGateConfig,
)
from kdray.schema import View

REFERENCE, HYPOTHESIS = View.REFERENCE, View.HYPOTHESIS
MEAN_TOKEN, MEAN_SENTENCE = 0.7, 2.1  # the running means that `midway` sets


def hybrid(dense: Dense) -> Tensor:
    config = dense.trial.config
    view = REFERENCE if config.layout == "two_pass" else HYPOTHESIS
    token, sentence = dense.kl(view, config.temperature), dense.ce(HYPOTHESIS, 0.0)
    gate, per_token = dense_gate(dense, view)
    stabiliser = getattr(config.gate, "stabiliser", None)
    learns = stabiliser is None or isinstance(stabiliser, NoStabiliserConfig | PriorConfig)
    mixing = gate if learns else gate.detach()
    g_token, g_sentence = (
        mixing if per_token else dense.spread(mixing, each) for each in (view, HYPOTHESIS)
    )
    value = (g_token * config.temperature**2 * token).mean() + ((1 - g_sentence) * sentence).mean()
    if isinstance(stabiliser, PriorConfig):
        g0 = config.gate.initial
        coins = gate * (gate / g0).log() + (1 - gate) * ((1 - gate) / (1 - g0)).log()
        value = value + stabiliser.strength * coins.mean()
    if isinstance(stabiliser, CentredConfig):
        if not per_token:
            token = dense.by_sentence(token, view)
            sentence = dense.by_sentence(sentence, HYPOTHESIS)
        scale = config.temperature**2
        pull = (scale * (token - MEAN_TOKEN) - (sentence - MEAN_SENTENCE)).detach()
        value = value + ((gate - gate.detach()) * pull).mean()
    return value


def dense_gate(dense: Dense, view: View) -> tuple[Tensor, bool]:
    """Its values, and whether there is one for each token."""
    config, gate = dense.trial.config.gate, dense.trial.method.gate
    batch, student = dense.batch, dense.trial.student
    memory = student.encode(batch.src_BS, batch.src_mask_BS).detach()
    sentences, clock = len(memory), dense.trial.method.clock
    match config:
        case FixedGateConfig(value=value):
            return memory.new_full((sentences,), value), False
        case ScheduleGateConfig(start=start, end=end, shape=shape):
            done = (clock.step - 1) / (clock.updates - 1)
            done = 0.5 - 0.5 * math.cos(math.pi * done) if shape == "cosine" else done
            return memory.new_full((sentences,), (1 - done) * start + done * end), False
        case ScalarGateConfig():
            return (1 / (1 + (-gate.logit).exp())).expand(sentences), False
        case SentenceGateConfig():
            means = [m[real].mean(0) for m, real in zip(memory, batch.src_mask_BS, strict=True)]
            score = torch.stack(means) @ gate.score.weight[0] + gate.score.bias
            return 1 / (1 + (-score).exp()), False
        case TokenGateConfig():
            target = batch.targets[view]
            states = student.decode(target.inputs_BT, memory, batch.src_mask_BS).detach()
            states = states.flatten(0, 1)[target.positions_N]
            return 1 / (1 + (-(states @ gate.score.weight[0] + gate.score.bias)).exp()), True
        case EntropyGateConfig(threshold=threshold, width=width, high=high, per=per):
            p = dense.outcomes(view, dense.trial.config.temperature)[0]
            share = -torch.xlogy(p, p).sum(1) / math.log(student.tgt_vocab)
            share = share if per == "token" else dense.by_sentence(share, view)
            if width:
                g = 1 / (1 + (-(share - threshold) / width).exp())
            else:
                g = (share > threshold).double()
            return (g if high == "token" else 1 - g), per == "token"
        case ConfidenceGateConfig(per=per):
            surer = dense.log_label(dense.student, view, 1.0).detach()
            temperature = dense.trial.config.temperature
            surer = surer - dense.log_label(dense.teacher, view, temperature)
            surer = surer if per == "token" else dense.by_sentence(surer, view)
            return (surer > 0).double(), per == "token"
    raise ValueError(config)
