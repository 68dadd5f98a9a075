"""Anything at all in a run's files: it loads and draws, or is refused by one sentence."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reverie
from reverie.artifact import load
from reverie.errors import ReverieError
from runs import written

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([0, 1, 2, -1, 16384, 65536, 10**9, 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["conv", "resnet", "cvae", "ae", "none", "1e9", "65536", "digits"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    written(folder)
    return folder


def attempt(folder: Path) -> None:
    """Loads and draws, or ReverieError; whatever else is raised fails the test."""
    try:
        found = load(folder)
    except ReverieError:
        return
    assert reverie.sample(found.model, 1).shape == (1, *found.image_spec.shape)


EDITS = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "delete"]), st.floats(0, 1), st.binary(min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
)


def mutate(content: bytes, edits: list[tuple[str, float, bytes]], most: int) -> bytes:
    found = bytearray(content)
    for kind, place, new in edits:
        where = int(place * min(most, len(found)))
        match kind:
            case "flip":
                found[where : where + len(new)] = new
            case "insert":
                found[where:where] = new
            case "delete":
                del found[where : where + len(new)]
            case _:
                del found[int(place * len(found)) :]
    return bytes(found)


@FUZZ
@given(EDITS)
def test_any_bytes_of_config(whole: Path, edits: list[tuple[str, float, bytes]]) -> None:
    original = (whole / "config.json").read_bytes()
    try:
        (whole / "config.json").write_bytes(mutate(original, edits, len(original)))
        attempt(whole)
    finally:
        (whole / "config.json").write_bytes(original)


@FUZZ
@given(EDITS, st.booleans())
def test_any_bytes_of_weights(whole: Path, edits: list[tuple[str, float, bytes]], head: bool) -> None:
    original = (whole / "model.safetensors").read_bytes()
    size = 8 + int.from_bytes(original[:8], "little")
    try:
        (whole / "model.safetensors").write_bytes(mutate(original, edits, size if head else len(original)))
        attempt(whole)
    finally:
        (whole / "model.safetensors").write_bytes(original)


def places(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += places(value, (*path, key))
    return found


@FUZZ
@given(st.data())
def test_any_value_of_any_field(whole: Path, data: st.DataObject) -> None:
    original = (whole / "config.json").read_bytes()
    config = json.loads(original)
    changed = copy.deepcopy(config)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(places(config)))
        parent = changed
        for key in parents:
            parent = parent.get(key, {}) if isinstance(parent, dict) else {}
        if isinstance(parent, dict):
            match data.draw(st.sampled_from(["set", "set", "set", "delete", "add"])):
                case "set":
                    parent[last] = data.draw(JSON)
                case "add":
                    parent[data.draw(st.text(max_size=8))] = data.draw(JSON)
                case _:
                    parent.pop(last, None)
    try:
        (whole / "config.json").write_text(json.dumps(changed))
        attempt(whole)
    finally:
        (whole / "config.json").write_bytes(original)
