"""Processes for tests that kill them or make ranks of them: forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    # torch imports its compiler with the first optimizer, which takes longer than most of these trainings.
    ["reverie.training", "reverie.reporting.report", "sklearn.mixture", "torch._dynamo", "cases"]
)
