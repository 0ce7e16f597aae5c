"""The text of a configuration to start with: sizes that go with a corpus, and what to change."""

import re
from dataclasses import dataclass

import yaml

from kdray.starting.corpus import FoundCorpus

TOKENS_PER_WORD = 1.4  # pieces of a vocabulary of some thousands, in European languages
_SIZES = (
    # pairs up to, vocabulary, teacher, student, passes of the teacher, of a student
    (5_000, 1_000, "mini", "tiny", 60, 30),
    (50_000, 4_000, "mini", "tiny", 26, 10),
    (500_000, 8_000, "small", "mini", 15, 8),
    (float("inf"), 16_000, "medium", "small", 5, 4),
)
"""As in the studies that come with kdray, as far as these reach."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What goes with a corpus of some size. Updates are of 4096 target tokens at most."""

    vocabulary: int
    teacher: str
    student: str
    teacher_updates: int
    student_updates: int
    tokens_per_update: int


def sizes_for(pairs: int, words: int) -> Sizes:
    """Sizes for a corpus with so many pairs, and so many words on the target side."""
    _, vocabulary, teacher, student, *passes = next(each for each in _SIZES if pairs <= each[0])
    tokens = TOKENS_PER_WORD * max(words, pairs)
    per_update = 4096 if tokens > 100_000 else 1024
    long, short = (_round(max(each * tokens / per_update, 200)) for each in passes)
    return Sizes(int(vocabulary), str(teacher), str(student), long, short, per_update)


def starter(name: str, corpus: FoundCorpus) -> str:
    """The configuration, as text with comments."""
    sizes = sizes_for(corpus.pairs, corpus.words)
    section = yaml.safe_dump(
        dict(corpus.section), sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    indented = "".join(f"    {line}\n" for line in section.splitlines())
    return f"""\
# yaml-language-server: $schema=schema.json
# A study of your own text: {corpus.pairs} pairs. It trains a teacher and, by three methods,
# students that are smaller, and says which method serves.
#
#   python -m kdray.study STUDY_FILE --dry-run    what would be made
#   python -m kdray.study STUDY_FILE              make it
#
# Every key is explained in docs/configuration.md, every method in docs/methods.md.
name: {name}

recipe:
  corpus:
{indented}  tokenizer: {{joint: true, vocab_size: {sizes.vocabulary}}}
  # A model that you have: {{kind: checkpoint, path: FOLDER}}, without the tokenizer above.
  teacher:
    kind: trained
    model: {{preset: {sizes.teacher}, dropout: 0.2}}
    training:
      updates: {sizes.teacher_updates}
      tokens_per_update: {sizes.tokens_per_update}
      schedule: {{kind: constant_cooldown, warmup: {sizes.teacher_updates // 10}}}
      checkpoint_every: {sizes.teacher_updates // 10}
      validate_every: {sizes.teacher_updates // 10 * 2}
      averaging: {{kind: last, checkpoints: 3}}
  signals:  # what students learn from the teacher
    hypotheses: {{beam: 4}}
    topk: {{k: 16}}
  students:
    sizes:
      {sizes.student}: {{preset: {sizes.student}}}  # another line is another size
    seeds: [1, 2]  # a third one finds smaller differences
    training:
      updates: {sizes.student_updates}
      tokens_per_update: {sizes.tokens_per_update}
      schedule: {{kind: constant_cooldown, warmup: {sizes.student_updates // 10}}}
      checkpoint_every: {sizes.student_updates // 10}
      validate_every: {sizes.student_updates // 10 * 2}
      averaging: {{kind: last, checkpoints: 3}}
  methods:
    cross_entropy: {{kind: cross_entropy}}  # the baseline: no teacher
    sentence_level: {{kind: sentence_level}}
    hybrid: {{kind: hybrid, gate: {{kind: sentence}}}}

exports:
  fast: {{kind: ctranslate2, quantization: int8}}

execution:
  storage: runs  # everything that is made; a folder that all nodes of a cluster see
  parallel_students: 2
"""


def study_name(folder: str) -> str:
    """A folder's name as that of a study."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip(".-_")[:80] or "study"


def _round(updates: float) -> int:
    """Two digits say enough."""
    digits = len(str(int(updates))) - 2
    return int(round(updates, -digits))
