"""The heap of the searches: keys come out in order, with the cells they came in with, however many there are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policies.mapping.heap import pop, push


@given(st.lists(st.integers(-50, 50), max_size=60), st.integers(1, 4))
def test_keys_come_out_in_order_with_their_cells(numbers, room):
    keys, cells, count = np.empty(room, np.float32), np.empty(room, np.int32), 0
    for cell, key in enumerate(numbers):
        keys, cells, count = push(keys, cells, count, key, cell)
    found = []
    while count:
        key, cell, count = pop(keys, cells, count)
        found.append((key, cell))
    assert [key for key, _ in found] == sorted(numbers)
    assert {cell: key for key, cell in found} == dict(enumerate(numbers))
