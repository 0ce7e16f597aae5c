"""Names that cross file boundaries: columns of tables on disk, splits, and teacher signals."""

from enum import StrEnum


class Column(StrEnum):
    """Columns of the tables that kdray writes."""

    PAIR_ID = "pair_id"  # int64, the only join key
    SRC = "src"  # source text
    REF = "ref"  # reference translation
    SRC_HASH = "src_hash"  # int64, of the source text, by which each join is proved
    SRC_IDS = "src_ids"  # list<uint16|uint32>, ends with </s>
    REF_IDS = "ref_ids"  # list<uint16|uint32>, ends with </s>
    HYP = "hyp"  # teacher translation, text
    HYP_IDS = "hyp_ids"  # list<uint16|uint32>, ends with </s> when finished
    HYP_SCORE = "hyp_score"  # float32, sum of log-probabilities
    HYP_RANK = "hyp_rank"  # int32, 0 is the best
    FINISHED = "finished"  # bool, the hypothesis ended with </s> before the length limit
    SOURCE = "source"  # name of the source in a mixture


class Split(StrEnum):
    """Parts of a corpus. Test sets are named by the user; their tables are `test-<name>`."""

    TRAIN = "train"
    DEV = "dev"


class View(StrEnum):
    """Which target sequence of a pair is meant."""

    REFERENCE = "reference"
    HYPOTHESIS = "hypothesis"  # a translation by the teacher
    STUDENT = "student"  # a sequence that the student made while it trained; never stored


class Form(StrEnum):
    """How a teacher's distributions reach its students."""

    TOPK = "topk"  # the likeliest entries and the mass of the rest, stored
    SAMPLED = "sampled"  # counts of draws, stored
    HIDDEN = "hidden"  # the last decoder states, stored; with the output matrix they are exact
    ONLINE = "online"  # nothing is stored: the teacher runs in the training step
