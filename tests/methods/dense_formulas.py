"""What each method computes, written out over whole distributions and differentiated by autograd.

Nothing here comes from kdray.methods but what a batch is: teacher and student are asked for logits,
and the formulas are those of the papers. p is the teacher, q the student, N target positions.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from toy_distillation import KEPT, Trial

from kdray.config import (
    AnnealingConfig,
    CentredConfig,
    ConfidenceGateConfig,
    CrossEntropyConfig,
    DivergenceConfig,
    EntropyGateConfig,
    FeatureConfig,
    FixedGateConfig,
    HardGateConfig,
    HybridConfig,
    ImitationConfig,
    InterpolationConfig,
    MultiHypothesisConfig,
    NoStabiliserConfig,
    OnPolicyConfig,
    PriorConfig,
    ScalarGateConfig,
    ScheduleGateConfig,
    SelectiveConfig,
    SentenceGateConfig,
    SentenceLevelConfig,
    TaidConfig,
    TieConfig,
    TokenGateConfig,
    TokenLevelConfig,
)
from kdray.methods.base import Batch
from kdray.model.transformer import Taps
from kdray.schema import Form, View
from kdray.text.tokenizer import BOS, PAD

REFERENCE, HYPOTHESIS, STUDENT = View.REFERENCE, View.HYPOTHESIS, View.STUDENT
MEAN_TOKEN, MEAN_SENTENCE = 0.7, 2.1  # the running means that `midway` sets


def kl(a: Tensor, b: Tensor, dim: int = 1) -> Tensor:
    """Σ a log(a/b), 0 log 0 = 0. -> [N]."""
    return (torch.xlogy(a, a) - a * b.clamp_min(1e-300).log()).sum(dim)


def divergence(name: str, p: Tensor, q: Tensor, *, beta=0.5, skew=0.1, head=0.5) -> Tensor:
    """Of probabilities. -> [N]."""
    match name:
        case "forward":
            return kl(p, q)
        case "reverse":
            return kl(q, p)
        case "jensen_shannon":
            m = beta * p + (1 - beta) * q
            return beta * kl(p, m) + (1 - beta) * kl(q, m)
        case "total_variation":
            return 0.5 * (p - q).abs().sum(1)
        case "skew":
            return kl(p, skew * p + (1 - skew) * q)
        case "skew_reverse":
            return kl(q, (1 - skew) * p + skew * q)
        case "adaptive":
            weight = p.new_tensor([head_share(a, b, head) for a, b in zip(p, q, strict=True)])
            return weight * kl(p, q) + (1 - weight) * kl(q, p)
    raise ValueError(name)


def head_share(p_V: Tensor, q_V: Tensor, head: float) -> float:
    """Share of Σ |p − q| in the teacher's likeliest entries, which make up `head`."""
    mass, in_head = 0.0, []
    for token in sorted(range(len(p_V)), key=lambda v: -p_V[v].item()):
        if in_head and mass >= head:
            break
        in_head.append(token)
        mass += p_V[token].item()
    gaps = (p_V - q_V).abs().tolist()
    return sum(gaps[v] for v in in_head) / sum(gaps)


class Dense:
    """Logits of student and teacher for a batch, and means over the whole batch."""

    def __init__(self, trial: Trial, batch: Batch) -> None:
        self.trial, self.batch = trial, batch

    def student(self, view: View, inputs: Tensor | None = None) -> Tensor:
        return self._logits(self.trial.student, view, inputs)

    @torch.no_grad()
    def teacher(self, view: View, inputs: Tensor | None = None) -> Tensor:
        """For an ensemble the log of the mean of its probabilities."""
        each = [self._logits(m, view, inputs).softmax(1) for m in self.trial.teacher.models]
        return torch.stack(each).mean(0).log()

    def _logits(self, model, view, inputs):
        target, batch = self.batch.targets[view], self.batch
        inputs = target.inputs_BT if inputs is None else inputs
        return model(batch.src_BS, batch.src_mask_BS, inputs).flatten(0, 1)[target.positions_N]

    def labels(self, view: View) -> Tensor:
        return self.batch.targets[view].labels_N

    def ce(self, view: View, smoothing: float) -> Tensor:
        return F.cross_entropy(
            self.student(view), self.labels(view), reduction="none", label_smoothing=smoothing
        )

    def outcomes(
        self, view: View, temperature: float = 1.0, *, one_sided: bool = False
    ) -> tuple[Tensor, Tensor]:
        """p and q over what the form tells apart: tokens, or some tokens and all the others."""
        p = (self.teacher(view) / temperature).softmax(1)
        q = (self.student(view) / (1.0 if one_sided else temperature)).softmax(1)
        if self.trial.form is Form.TOPK:
            kept = p.argsort(1, descending=True)[:, :KEPT]
            others = torch.ones_like(p).scatter(1, kept, 0.0)
            p, q = (
                torch.cat((each.gather(1, kept), (each * others).sum(1, keepdim=True)), 1)
                for each in (p, q)
            )
        elif self.trial.form is Form.SAMPLED:
            drawn = self.batch.targets[view].teacher
            p = torch.zeros_like(p).scatter(1, drawn.ids_NK, drawn.logp_NK.exp())
        return p, q

    def kl(self, view: View, temperature: float = 1.0, *, one_sided: bool = False) -> Tensor:
        return kl(*self.outcomes(view, temperature, one_sided=one_sided))

    def log_label(self, model: Callable[..., Tensor], view: View, temperature: float) -> Tensor:
        logp = (model(view) / temperature).log_softmax(1)
        return logp[torch.arange(len(logp)), self.labels(view)]

    def by_sentence(self, values_N: Tensor, view: View) -> Tensor:
        """Mean over the tokens of each sentence. -> [B]."""
        rows = self.batch.targets[view].sentence_N
        return torch.stack([values_N[rows == b].mean() for b in range(len(self.batch.src_BS))])

    def spread(self, values_B: Tensor, view: View) -> Tensor:
        """The value of its sentence for each token. -> [N]."""
        return values_B[self.batch.targets[view].sentence_N]


def expected(trial: Trial, batch: Batch) -> Tensor:
    """The objective of a whole batch."""
    dense = Dense(trial, batch)
    match trial.config:
        case CrossEntropyConfig(label_smoothing=eps):
            return dense.ce(REFERENCE, eps).mean()
        case SentenceLevelConfig(label_smoothing=eps, with_reference=True):
            return (dense.ce(HYPOTHESIS, eps).mean() + dense.ce(REFERENCE, eps).mean()) / 2
        case SentenceLevelConfig() | InterpolationConfig() | MultiHypothesisConfig() as config:
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

    def square(state, projection, aim):
        return (projection(state) - aim.detach()).square().mean(-1)

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
