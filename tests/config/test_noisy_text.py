"""Noise that cannot be made is refused when the file is read, with its place."""

import pytest

from kdray.errors import ConfigError


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("{rate: 1.1}", "recipe.corpus.noise.rate: input should be less than or equal to 1"),
        ("{rate: -0.1}", "recipe.corpus.noise.rate: input should be greater than or equal to 0"),
        ("{rate: .nan}", "recipe.corpus.noise.rate: "),
        ("{operations: []}", "recipe.corpus.noise.operations: "),
        ("{operations: [swap, delete, swap]}",
         "recipe.corpus.noise: operations ['swap', 'delete', 'swap'] repeat an operation"),
        ("{operations: [insert]}", "recipe.corpus.noise.operations.0: "),
        ("{side: src}", "recipe.corpus.noise.side: "),
        ("{seed: -1}", "recipe.corpus.noise.seed: "),
        ("{rates: 0.1}", "recipe.corpus.noise.rates: no such key; did you mean 'rate'?"),
    ],
)  # fmt: skip
def test_noise_that_cannot_be_made_is_named_with_its_place(load, noise, message) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"recipe.corpus.noise={noise}")
    assert message in str(caught.value)


def test_only_a_teacher_that_the_study_trains_learns_noise(load) -> None:
    noise = "recipe.corpus.noise={rate: 0.1, teacher_learns: noisy}"
    assert load(noise).recipe.corpus.noise.teacher_learns == "noisy"
    with pytest.raises(ConfigError, match="teacher_learns is noisy, but the study trains no"):
        load(noise, "recipe.teacher={kind: checkpoint, path: somewhere}")
