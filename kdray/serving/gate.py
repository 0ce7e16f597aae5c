"""The gate of a student for a sentence of which nobody knows a translation.

A gate that looks at the source alone has a value then. Others read the teacher on a reference, or
the student's states on it: `kdray gate` shows those.
"""

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from kdray.config.methods.hybrid import HybridConfig
from kdray.config.methods.union import SingleMethodConfig
from kdray.fit.job import METHOD_CONFIG, METHOD_WEIGHTS
from kdray.methods.base import Clock
from kdray.methods.build import build_method
from kdray.methods.gates import SourceGate
from kdray.methods.hybrid import Hybrid
from kdray.model.precision import widened
from kdray.model.storage import load_model, load_weights
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import Tokenizer

_METHOD: TypeAdapter[SingleMethodConfig] = TypeAdapter(SingleMethodConfig)
_END = Clock(step=2, run_length=2)  # of a training, however long it was


class GateOfSources:
    """A finished student and its gate, which looks at nothing but the source."""

    def __init__(self, student: Transformer, tokenizer: Tokenizer, gate: SourceGate[Any]) -> None:
        self.student, self.tokenizer, self.gate = student, tokenizer, gate

    @torch.inference_mode()
    def read(self, src: str) -> float | None:
        """G of a sentence, between 0 and 1; None if the student cannot read it as a whole."""
        (ids,) = self.tokenizer.encode_src([src])
        if len(ids) > self.student.config.max_length:
            return None
        src_BS, mask_BS = torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool)
        memory_BSD = widened(self.student.encode(src_BS, mask_BS))
        return float(self.gate.of_source(memory_BSD, mask_BS, _END)[0])


def gate_kind(folder: Path) -> str | None:
    """The kind of gate that the student in a folder learned by; None if its method has none."""
    if not (folder / METHOD_CONFIG).is_file():
        return None
    config = _config(folder)
    return config.gate.kind if isinstance(config, HybridConfig) else None


def gate_of(folder: Path) -> GateOfSources | None:
    """The gate of the student in a folder; None where it needs more than a source.

    Raises:
        DataError: a file of the student is missing or damaged.
    """
    if gate_kind(folder) is None:
        return None
    student = load_model(folder)
    method = build_method(_config(folder), student=student).eval()
    assert isinstance(method, Hybrid), "no other method has a gate of its own"
    if not isinstance(method.gate, SourceGate):
        return None
    load_weights(method, folder / METHOD_WEIGHTS)
    return GateOfSources(student, Tokenizer.load(folder), method.gate)


def _config(folder: Path) -> SingleMethodConfig:
    return _METHOD.validate_json((folder / METHOD_CONFIG).read_bytes())
