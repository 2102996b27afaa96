"""Links between near rows: nearly the true ones, never a row's own, whatever the rows are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from world.lore import neighbours
from world.lore.neighbours import nearest_rows

Make = Callable[..., np.ndarray]


def test_most_links_lead_to_the_true_nearest(
    vectors: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "CELL_ROWS", 50)
    monkeypatch.setattr(neighbours, "COMPARED", 600)
    rows = vectors(3000, 32)
    links = nearest_rows(rows, 10, seed=1)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    true = np.argpartition(-cosines, 10, axis=1)[:, :10]
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(links.tolist(), true.tolist(), strict=True)]
    assert np.mean(shared) > 0.8


def test_the_same_seed_gives_the_same_links(vectors: Make) -> None:
    rows = vectors(1200)
    np.testing.assert_array_equal(nearest_rows(rows, 8, 3), nearest_rows(rows, 8, 3))


@pytest.mark.parametrize("rows", [2, 3, 9, 700])
def test_no_row_is_its_own_neighbour(vectors: Make, rows: int) -> None:
    links = nearest_rows(vectors(rows), 8, 1)
    assert links.shape == (rows, min(8, rows - 1))
    assert links.min() >= 0
    assert links.max() < rows
    assert not (links == np.arange(rows)[:, None]).any()
    assert all(len(set(row)) == links.shape[1] for row in links.tolist())


def test_a_row_alone_is_linked_to_itself(vectors: Make) -> None:
    assert nearest_rows(vectors(1), 8, 1).tolist() == [[0]]


def test_rows_that_are_all_the_same_are_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CELL_ROWS", 50)
    monkeypatch.setattr(neighbours, "COMPARED", 100)
    same = np.zeros((900, 4), dtype=np.float32)
    same[:, 0] = 1.0
    links = nearest_rows(same, 8, 1)
    assert links.shape == (900, 8)
    assert not (links == np.arange(900)[:, None]).any()
