"""The card of an exported model: what it is, what it costs and what it lost, for whoever gets it.

It begins with the block that Hugging Face reads, and is otherwise plain Markdown.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

import kdray
from kdray.export.about import NOT_STATED, About
from kdray.export.measure import Measured
from kdray.model.storage import Shape

CARD = "README.md"
_TOLD = ("updates", "tokens_per_update", "averaging")
"""What of a training the card says; the rest is in the record of the student."""


def card(
    about: About,
    shape: Shape,
    measured: Measured,
    *,
    kind: str,
    form: Mapping[str, Any],
    usage: str,
) -> str:
    """The text of the card. `form` is the configuration of what was written."""
    parts = (
        _front(about, kind),
        [f"# {about.name} as {kind}", "", _first(about), ""],
        ["## Use", "", usage.rstrip() or "See the package that brings this form.", ""],
        _table("What it is", ("", ""), _facts(about, shape, form)),
        _scores(measured),
        _table("Cost", ("", ""), _cost(measured)),
        ["## Checked", "", _checked(measured), ""],
        ["## Limits", "", *_limits(shape, measured), ""],
    )
    return "\n".join(line for part in parts for line in part)


def _front(about: About, kind: str) -> list[str]:
    """The block of YAML that Hugging Face reads."""
    languages = [code for code in (about.src_lang, about.tgt_lang) if code]
    front: dict[str, Any] = {"language": languages} if languages else {}
    front["license"] = "other" if about.licence == NOT_STATED else about.licence.lower()
    front |= {
        "library_name": "transformers" if kind == "huggingface" else kind,
        "pipeline_tag": "translation",
        "tags": ["translation", "knowledge-distillation", "kdray"],
        "metrics": ["bleu", "chrf"],
    }
    return ["---", yaml.safe_dump(front, sort_keys=False).rstrip(), "---", ""]


def _first(about: About) -> str:
    way = f"from {about.src_lang} to {about.tgt_lang}" if about.src_lang else "sentences"
    return f"A student that translates {way}, made with kdray {kdray.__version__}."


def _facts(about: About, shape: Shape, form: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    config = shape.config
    yield "languages", f"{about.src_lang} to {about.tgt_lang}" if about.src_lang else NOT_STATED
    yield "corpus", about.corpus
    yield "licence of the corpus", about.licence
    yield "teacher", about.teacher
    yield "method", _shown(about.method) if about.method else NOT_STATED
    training = {name: about.training[name] for name in _TOLD if name in about.training}
    if about.seed is not None:
        training["seed"] = about.seed
    yield "recipe", _shown(training) if training else NOT_STATED
    yield "student", f"`{about.fingerprint}`" if about.fingerprint else NOT_STATED
    yield (
        "shape",
        f"Transformer, {config.encoder_layers} + {config.decoder_layers} layers, width "
        f"{config.width}, {shape.num_params()} parameters, {shape.tgt_vocab} target pieces",
    )
    yield "form", _shown(form)


def _scores(measured: Measured) -> list[str]:
    """BLEU and chrF of what was written, beside those of the student."""
    if not measured.scores:
        return ["## Scores", "", f"Not scored: {measured.unscored}.", ""]
    rows, signatures = [], dict[str, None]()
    for split, row in measured.scores.items():
        own = measured.of_student.get(split, {})
        beside = [f"{own[name]:.2f}" if name in own else "" for name in ("bleu", "chrf")]
        if "unscored" in row:
            rows.append((split, row["unscored"], "", *beside))
            continue
        rows.append((split, f"{row['bleu']:.2f}", f"{row['chrf']:.2f}", *beside))
        signatures |= dict.fromkeys((row["bleu_signature"], row["chrf_signature"]))
    head = ("set", "BLEU", "chrF", "BLEU of the student", "chrF of the student")
    told = ", ".join(f"`{signature}`" for signature in signatures)
    search = f"beam {measured.beam}, length penalty {measured.length_penalty:g}"
    return [*_table("Scores", head, rows), f"By sacrebleu, {search}: {told}", ""]


def _cost(measured: Measured) -> Iterator[Sequence[str]]:
    yield "on disk", f"{measured.bytes / 1e6:.2f} MB"
    cost = measured.cost
    if not cost:
        return
    yield (
        "one sentence alone, one thread",
        f"{cost['latency_p50_ms']:.1f} ms (half of them), {cost['latency_p95_ms']:.1f} ms (95 %)",
    )
    yield (
        f"many at once, {cost['threads']} threads",
        f"{cost['sentences_per_second']:.0f} sentences/s",
    )
    yield "memory", f"{cost['memory_bytes'] / 1e6:.0f} MB"
    machine = cost["machine"]
    yield (
        "measured on",
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, beam "
        f"{cost['beam']}",
    )


def _checked(measured: Measured) -> str:
    if measured.checked is None:
        return "Not checked: the package that brings this form does not say how it is opened."
    return f"Against the student itself on {measured.checked_on}: {measured.checked_words}."


def _limits(shape: Shape, measured: Measured) -> Iterator[str]:
    yield (
        f"- A sentence may have at most {shape.config.max_length} pieces; longer text has to be "
        "cut into sentences first."
    )
    yield "- It was made for text like its corpus; on other text it may be much worse."
    for note in measured.notes:
        yield f"- {note[:1].upper()}{note[1:]}."


def _table(title: str, head: Sequence[str], rows: Any) -> list[str]:  # noqa: ANN401
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in (head, *rows)]
    lines.insert(1, "| " + " | ".join("---" for _ in head) + " |")
    return [f"## {title}", "", *lines, ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _shown(value: Mapping[str, Any]) -> str:
    """Plain data on one line."""
    return f"`{yaml.safe_dump(dict(value), default_flow_style=True, width=10**6).strip()}`"
