"""The statistics of a study: which of its differences are more than chance, and what is missing.

A system's translations become counts (`segments`), and the counts become a score on every resample
of the segments (`resampling`), which are drawn once for all systems. All else is computed from
these scores: seed noise (`seeds`), differences (`contrast`), changes and crossings along an axis
(`axis`, `interaction`, `crossing`), and what to run next (`power`). `docs/statistics.md` explains
it to users. Nothing here imports torch or Ray.
"""
