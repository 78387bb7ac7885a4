"""Parts the floors into simple regions, as water would fill basins: Recast's watershed partitioning.

After ``RecastRegion.cpp`` of Recast (Mikko Mononen, zlib licence): a blurred distance to the border, basins
that grow from the deepest level up in rounds of eight, small regions merged into neighbours, islands too
small to matter dropped. Region 0 is no region.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.simulators.walkable.region_merging import merge_regions, stacked_regions, without_islands
from envs.simulators.walkable.voxels import OpenSpans, border_distance

_LEVELS_A_ROUND = 8
_EXPANSIONS = 8
_MAX_BORDER_STEPS = 39999


@njit(cache=True, nogil=True)
def _blur(links, distance):
    """Mean distance over the 3 x 3 neighbourhood, but for floors next to the border."""
    blurred = np.empty_like(distance)
    for i in range(len(distance)):
        centre = distance[i]
        if centre <= 2:
            blurred[i] = centre
            continue
        total = centre
        for direction in range(4):
            j = links[i, direction]
            if j < 0:
                total += 2 * centre
                continue
            k = links[j, (direction + 1) & 3]
            total += distance[j] + (distance[k] if k >= 0 else centre)
        blurred[i] = (total + 5) // 9
    return blurred


@njit(cache=True, nogil=True)
def _expand(rounds, stack, count, links, walkable, region, reach, found, found_region, found_reach):
    """Grow regions into the floors on the stack, some rounds (-1: all); those that got one become -1."""
    done = 0
    while count > 0:
        waiting = 0
        new = 0
        for n in range(count):
            i = stack[n]
            if i < 0:
                waiting += 1
                continue
            best = 0
            best_reach = 65535
            for direction in range(4):
                j = links[i, direction]
                if j >= 0 and walkable[j] == walkable[i] and region[j] > 0 and reach[j] + 2 < best_reach:
                    best = region[j]
                    best_reach = reach[j] + 2
            if best > 0:
                stack[n] = -1
                found[new] = i
                found_region[new] = best
                found_reach[new] = best_reach
                new += 1
            else:
                waiting += 1
        for n in range(new):
            region[found[n]] = found_region[n]
            reach[found[n]] = found_reach[n]
        if waiting == count:
            break
        done += 1
        if done == rounds:
            break


@njit(cache=True, nogil=True)
def _flood(seed, level, name, links, walkable, distance, region, reach, stack):
    """Start a region at a floor and fill the basin around it. Returns whether anything was filled."""
    lowest = level - 2 if level >= 2 else 0
    region[seed] = name
    reach[seed] = 0
    stack[0] = seed
    count = 1
    filled = False
    while count > 0:
        count -= 1
        i = stack[count]
        touches_other = False
        for direction in range(4):
            j = links[i, direction]
            if j < 0 or walkable[j] != walkable[i]:
                continue
            if region[j] != 0 and region[j] != name:
                touches_other = True
                break
            k = links[j, (direction + 1) & 3]
            if k >= 0 and walkable[k] == walkable[i] and region[k] != 0 and region[k] != name:
                touches_other = True
                break
        if touches_other:
            region[i] = 0
            continue
        filled = True
        for direction in range(4):
            j = links[i, direction]
            if j >= 0 and walkable[j] == walkable[i] and distance[j] >= lowest and region[j] == 0:
                region[j] = name
                reach[j] = 0
                stack[count] = j
                count += 1
    return filled


@njit(cache=True, nogil=True)
def _watershed(
    links, walkable, distance, deepest, region, reach, by_level, starts, stack, flooding, found, found_region,
    found_reach,
):  # fmt: skip
    """Basins of the distance to the border: fills ``region`` (S,) and returns how many there are.

    ``region`` and ``reach`` start at zero; the others are scratch: a round's floors by level (those deeper
    than its first level come with it), the floors of one level, and those that a step of growth has found.
    """
    total = len(links)
    regions = np.int64(0)
    count = np.int64(0)
    forever = np.int64(-1)
    turn = -1
    level = (deepest + 1) & ~1
    while level > 0:
        level = max(level - 2, 0)
        turn = (turn + 1) % _LEVELS_A_ROUND
        if turn == 0:
            for b in range(_LEVELS_A_ROUND + 1):
                starts[b] = 0
            for fill in range(2):
                for i in range(total):
                    bin_ = max((level >> 1) - (distance[i] >> 1), 0)
                    if not walkable[i] or region[i] != 0 or bin_ >= _LEVELS_A_ROUND:
                        continue
                    if fill == 0:
                        starts[bin_ + 1] += 1
                    else:
                        by_level[starts[bin_]] = i
                        starts[bin_] += 1
                if fill == 0:
                    for b in range(_LEVELS_A_ROUND):
                        starts[b + 1] += starts[b]
            for b in range(_LEVELS_A_ROUND, 0, -1):
                starts[b] = starts[b - 1]
            starts[0] = 0
            count = np.int64(0)
        kept = 0
        for n in range(count):
            i = stack[n]
            if i >= 0 and region[i] == 0:
                found[kept] = i
                kept += 1
        count = np.int64(0)
        for n in range(starts[turn], starts[turn + 1]):
            i = by_level[n]
            stack[count] = i if region[i] == 0 else -1
            count += 1
        for n in range(kept):
            stack[count] = found[n]
            count += 1
        rounds = np.int64(_EXPANSIONS) if level > 0 else forever
        _expand(rounds, stack, count, links, walkable, region, reach, found, found_region, found_reach)
        for n in range(count):
            i = stack[n]
            if i >= 0 and region[i] == 0:
                regions += _flood(i, level, regions + 1, links, walkable, distance, region, reach, flooding)
    count = np.int64(0)
    for i in range(total):
        if region[i] == 0 and walkable[i]:
            stack[count] = i
            count += 1
    _expand(forever, stack, count, links, walkable, region, reach, found, found_region, found_reach)
    return regions


@njit(cache=True, nogil=True)
def _neighbours_along_border(links, region, sizes, starts, counts, names):
    """The regions met when walking around each region's border, in order (0 = the outside).

    Fills the sizes of the regions and ``names[starts[r]:][:counts[r]]``.
    """
    used = 0
    for start in range(len(links)):
        name = region[start]
        if name == 0:
            continue
        sizes[name] += 1
        if counts[name] > 0:
            continue
        direction = -1
        for d in range(4):
            j = links[start, d]
            if (region[j] if j >= 0 else 0) != name:
                direction = d
                break
        if direction < 0:
            continue
        starts[name] = used
        first_direction = direction
        i = start
        last = -1
        for _ in range(_MAX_BORDER_STEPS):
            j = links[i, direction]
            other = region[j] if j >= 0 else 0
            if other != name:
                if other != last:
                    names[used] = other
                    used += 1
                    last = other
                direction = (direction + 1) & 3
            else:
                i = j
                direction = (direction + 3) & 3
            if i == start and direction == first_direction:
                break
        if used - starts[name] > 1 and names[used - 1] == names[starts[name]]:
            # Recast drops the earlier of two equal neighbours, here the last of the round
            used -= 1
        counts[name] = used - starts[name]


def partition(spans: OpenSpans, min_size: int, merge_size: int) -> tuple[np.ndarray, int]:
    """Give every floor a region.

    Args:
        spans: the floors.
        min_size: connected regions of fewer floors in all than this are dropped.
        merge_size: regions of at most so many floors are merged into a neighbour where they stay simple.

    Returns:
        The region (S,) int32 of each floor, 0 for none, and how many regions there are.
    """
    floors = len(spans.links)
    distance = border_distance(spans.links, spans.walkable)
    region = np.zeros(floors, np.int32)
    regions = _watershed(
        spans.links,
        spans.walkable,
        _blur(spans.links, distance),
        int(distance.max(initial=0)),
        region,
        np.zeros(floors, np.int32),
        np.empty(floors, np.int32),
        np.empty(_LEVELS_A_ROUND + 1, np.int64),
        *(np.empty(floors, np.int32) for _ in range(5)),
    )
    sizes, starts, counts = (np.zeros(regions + 1, np.int64) for _ in range(3))
    names = np.empty(4 * floors + 1, np.int32)  # a border passes each side of a floor at most once
    _neighbours_along_border(spans.links, region, sizes, starts, counts, names)
    around = [names[starts[r] : starts[r] + counts[r]].tolist() for r in range(regions + 1)]
    del names
    kept = without_islands(around, sizes.tolist(), min_size)
    merged = merge_regions(
        around, stacked_regions(spans.columns, region, regions), sizes.tolist(), kept, merge_size
    )
    # new names in the order in which the old ones first appear
    renamed = {0: 0}
    for name in merged:
        renamed.setdefault(name, len(renamed))
    return np.array([renamed[name] for name in merged], np.int32)[region], len(renamed) - 1
