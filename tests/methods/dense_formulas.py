"""What each method computes, written out over whole distributions and differentiated by autograd.

Nothing here comes from kdray.methods but what a batch is: teacher and student are asked for logits,
and the formulas are those of the papers. p is the teacher, q the student, N target positions.
"""

import math

import torch
from dense_batch import Dense
from dense_divergences import divergence, kl
from dense_hybrid import hybrid
from torch import Tensor
from torch.nn import functional as F
from toy_distillation import Trial

from kdray.config.methods.annealing import AnnealingConfig
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.methods.divergence import DivergenceConfig
from kdray.config.methods.feature import FeatureConfig
from kdray.config.methods.hard_gate import HardGateConfig
from kdray.config.methods.hybrid import HybridConfig
from kdray.config.methods.imitation import ImitationConfig
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.config.methods.on_policy import OnPolicyConfig
from kdray.config.methods.scored import ScoredConfig
from kdray.config.methods.selective import SelectiveConfig
from kdray.config.methods.sentence_level import SentenceLevelConfig
from kdray.config.methods.taid import TaidConfig
from kdray.config.methods.tie import TieConfig
from kdray.config.methods.token_level import TokenLevelConfig
from kdray.methods.base import Batch
from kdray.model.transformer import Taps
from kdray.schema import View
from kdray.text.tokenizer import BOS, PAD

REFERENCE, HYPOTHESIS, STUDENT = View.REFERENCE, View.HYPOTHESIS, View.STUDENT


def expected(trial: Trial, batch: Batch) -> Tensor:
    """The objective of a whole batch."""
    dense = Dense(trial, batch)
    match trial.config:
        case CrossEntropyConfig(label_smoothing=eps):
            return dense.ce(REFERENCE, eps).mean()
        case SentenceLevelConfig(label_smoothing=eps, with_reference=True):
            return (dense.ce(HYPOTHESIS, eps).mean() + dense.ce(REFERENCE, eps).mean()) / 2
        case (
            SentenceLevelConfig() | InterpolationConfig() | MultiHypothesisConfig() | ScoredConfig()
        ) as config:
            return dense.ce(HYPOTHESIS, config.label_smoothing).mean()
        case TokenLevelConfig(alpha=alpha, temperature=t, label_smoothing=eps, prefix=view):
            return ((1 - alpha) * dense.ce(view, eps) + alpha * t**2 * dense.kl(view, t)).mean()
        case HybridConfig():
            return hybrid(dense)
        case HardGateConfig(temperature=t, per=per, label_smoothing=eps):
            ahead = dense.log_label(dense.student, REFERENCE, 1.0)
            ahead = ahead - dense.log_label(dense.teacher, REFERENCE, t)
            if per == "sentence":
                ahead = dense.spread(dense.by_sentence(ahead, REFERENCE), REFERENCE)
            teacher_alone = dense.kl(REFERENCE, t, one_sided=True)
            return torch.where(ahead > 0, teacher_alone, dense.ce(REFERENCE, eps)).mean()
        case SelectiveConfig(label_smoothing=eps):
            chosen = selected(dense)
            return (dense.ce(REFERENCE, eps) + chosen * dense.kl(REFERENCE)).mean()
        case TieConfig():
            return tie(dense)
        case AnnealingConfig(max_temperature=most):
            tau = most - math.floor(
                (trial.method.clock.step - 1) / trial.method.clock.updates * most
            )
            z_q, z_p = dense.student(REFERENCE), dense.teacher(REFERENCE)
            z_q, z_p = (z - z.mean(1, keepdim=True) for z in (z_q, z_p))
            return (z_q - (1 - (tau - 1) / most) * z_p).square().sum(1).mean()
        case DivergenceConfig(divergence=name, alpha=alpha, prefix=view) as config:
            numbers = {"beta": config.beta, "skew": config.skew, "head": config.head}
            value = divergence(name, *dense.outcomes(view), **numbers)
            return ((1 - alpha) * dense.ce(view, config.label_smoothing) + alpha * value).mean()
        case TaidConfig(prefix=view):
            t, z_q = float(trial.method.t), dense.student(view)
            between = ((1 - t) * z_q.detach() + t * dense.teacher(view)).softmax(1)
            return -(between * z_q.log_softmax(1)).sum(1).mean()
        case ImitationConfig(target="distribution"):
            return dense.kl(STUDENT).mean()
        case ImitationConfig(target="argmax"):
            words = dense.teacher(STUDENT).argmax(1)
            return F.cross_entropy(dense.student(STUDENT), words)
        case OnPolicyConfig(student_share=share, divergence=name, beta=beta):
            data, own = (
                divergence(name, *dense.outcomes(view), beta=beta).mean()
                for view in (REFERENCE, STUDENT)
            )
            return (1 - share) * data + share * own
        case FeatureConfig():
            return feature(dense)
    raise ValueError(trial.config)


def selected(dense: Dense) -> Tensor:
    """Where KL counts: 1 or 0. -> [N]."""
    config, method = dense.trial.config, dense.trial.method
    nll = -dense.log_label(dense.student, REFERENCE, 1.0).detach()
    if config.scope == "global":
        remembered = sorted(method.values.tolist())
        place = (1 - config.share) * (len(remembered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(remembered) - 1)
        threshold = remembered[low] + (place - low) * (remembered[high] - remembered[low])
        return (nll > threshold).double()
    hardest = sorted(range(len(nll)), key=lambda n: -nll[n].item())
    chosen = hardest[: math.ceil(config.share * len(nll))]
    return torch.zeros_like(nll).index_fill(0, torch.tensor(chosen), 1.0)


def tie(dense: Dense) -> Tensor:
    config, target = dense.trial.config, dense.batch.targets[REFERENCE]
    value = (1 - config.alpha) * dense.ce(REFERENCE, config.label_smoothing).mean()
    inputs = target.inputs_BT
    for _ in range(config.passes):
        p = dense.teacher(REFERENCE, inputs).softmax(1)
        q = dense.student(REFERENCE, inputs).softmax(1)
        value = value + config.alpha / config.passes * (kl(p, q) + ranking(p, q, config.k)).mean()
        answers = [q[target.sentence_N == b].argmax(1).tolist() for b in range(len(inputs))]
        inputs = torch.full_like(inputs, PAD)
        for b, answer in enumerate(answers):
            inputs[b, : len(answer)] = torch.tensor([BOS, *answer[:-1]])
    return value


def ranking(p: Tensor, q: Tensor, k: int) -> Tensor:
    value = p.new_zeros(len(p))
    rows = torch.arange(len(p))
    theirs, ours = (each.argsort(1, descending=True)[:, :k] for each in (p, q))
    for i in range(k):
        q_i, p_i = q[rows, theirs[:, i]], p[rows, theirs[:, i]]
        value = value + F.relu(q_i - q[rows, theirs[:, 0]])
        for j in range(k):
            q_j, p_j = q[rows, ours[:, j]], p[rows, ours[:, j]]
            value = value + torch.where(p_i > p_j, F.relu(q_j - q_i), 0.0)
    return value


def feature(dense: Dense) -> Tensor:
    """One layer of the student learns the teacher's last."""
    config, method, batch = dense.trial.config, dense.trial.method, dense.batch
    inputs, (teacher,) = batch.targets[REFERENCE].inputs_BT, dense.trial.teacher.models
    ours, theirs = Taps(), Taps()
    for model, taps in ((dense.trial.student, ours), (teacher, theirs)):
        memory = model.encode(batch.src_BS, batch.src_mask_BS, taps=taps)
        model.decode(inputs, memory, batch.src_mask_BS, taps=taps)

    def square(state, projection, target):
        if config.states == "normalised":
            variance = target.var(-1, keepdim=True, correction=0)
            target = (target - target.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt()
        return (projection(state) - target.detach()).square().mean(-1)

    def maps(ours, theirs):
        return kl(theirs.detach(), ours, dim=-1)

    encoder = config.hidden_weight * square(
        ours.encoder_states[-1], method.encoder_projections[0], theirs.encoder_states[-1]
    ) + config.attention_weight * maps(ours.encoder_maps[-1], theirs.encoder_maps[-1])
    decoder = config.hidden_weight * square(
        ours.decoder_states[-1], method.decoder_projections[0], theirs.decoder_states[-1]
    ) + config.attention_weight * (
        maps(ours.decoder_maps[-1], theirs.decoder_maps[-1])
        + maps(ours.cross_maps[-1], theirs.cross_maps[-1])
    )
    on_source = torch.stack(
        [values[real].mean() for values, real in zip(encoder, batch.src_mask_BS, strict=True)]
    ).mean()
    on_target = decoder.flatten()[batch.targets[REFERENCE].positions_N].mean()
    token = (1 - config.alpha) * dense.ce(REFERENCE, config.label_smoothing)
    token = token + config.alpha * config.temperature**2 * dense.kl(REFERENCE, config.temperature)
    return token.mean() + config.decay**method.clock.epoch * (on_source + on_target)
