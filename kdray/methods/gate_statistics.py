"""How a gate lies over the sentences of an update: mean, spread, histogram, by source length."""

from collections.abc import Mapping

from torch import Tensor

BINS = 10  # of equal width between 0 and 1
LENGTHS = (8, 16, 32)  # source tokens, `</s>` counted: the last of each class but the open one


def gate_statistics(gate_B: Tensor, lengths_B: Tensor) -> Mapping[str, float]:
    """Metrics of a gate; a class of lengths without a sentence has none.

    `gate/histogram/0.3` is the share of sentences with 0.3 ≤ g < 0.4 (the last bin holds 1 too).
    """
    bins = (gate_B * BINS).long().clamp(0, BINS - 1).bincount(minlength=BINS)
    metrics = {
        "gate/mean": float(gate_B.mean()),
        "gate/std": float(gate_B.std(correction=0)),
        **{f"gate/histogram/{i / BINS:.1f}": int(n) / len(gate_B) for i, n in enumerate(bins)},
    }
    least = 0
    for most in (*LENGTHS, None):
        inside = lengths_B > least
        if most is not None:
            inside &= lengths_B <= most
        if bool(inside.any()):
            name = f"{least + 1:02d}-{most:02d}" if most else f"{least + 1:02d}-"
            metrics[f"gate/by_length/{name}"] = float(gate_B[inside].mean())
        least = most or least
    return metrics
