"""Parts the floors into simple regions, as water would fill basins: Recast's watershed partitioning.

After ``RecastRegion.cpp`` of Recast (Mikko Mononen, zlib licence): a blurred distance to the border, basins that grow
from the deepest level up in rounds of eight, small regions merged into neighbours, islands too small to matter dropped.
Region 0 is no region.
"""

from __future__ import annotations

import numpy as np
from numba import njit

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
    """Grow regions into the floors on the stack, at most ``rounds`` steps; floors that got one become -1 on it."""
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
def _watershed(links, walkable, distance, deepest):
    """Basins of the distance to the border: region of each floor (S,) int32, and how many there are."""
    total = len(links)
    region = np.zeros(total, np.int32)
    reach = np.zeros(total, np.int32)
    # a round's floors by level (those deeper than its first level come with it), then one level's floors
    by_level = np.empty(total, np.int32)
    starts = np.zeros(_LEVELS_A_ROUND + 1, np.int64)
    stack = np.empty(total, np.int32)
    flooding = np.empty(total, np.int32)
    found = np.empty(total, np.int32)
    found_region = np.empty(total, np.int32)
    found_reach = np.empty(total, np.int32)
    count = 0
    regions = 0
    turn = -1
    level = (deepest + 1) & ~1
    while level > 0:
        level = max(level - 2, 0)
        turn = (turn + 1) % _LEVELS_A_ROUND
        if turn == 0:
            starts[:] = 0
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
            count = 0
        kept = 0
        for n in range(count):
            i = stack[n]
            if i >= 0 and region[i] == 0:
                found[kept] = i
                kept += 1
        count = 0
        for n in range(starts[turn], starts[turn + 1]):
            i = by_level[n]
            stack[count] = i if region[i] == 0 else -1
            count += 1
        for n in range(kept):
            stack[count] = found[n]
            count += 1
        rounds = _EXPANSIONS if level > 0 else -1
        _expand(rounds, stack, count, links, walkable, region, reach, found, found_region, found_reach)
        for n in range(count):
            i = stack[n]
            if i >= 0 and region[i] == 0:
                regions += _flood(i, level, regions + 1, links, walkable, distance, region, reach, flooding)
    count = 0
    for i in range(total):
        if region[i] == 0 and walkable[i]:
            stack[count] = i
            count += 1
    _expand(-1, stack, count, links, walkable, region, reach, found, found_region, found_reach)
    return region, regions


@njit(cache=True, nogil=True)
def _neighbours_along_border(links, region, regions):
    """The regions met when walking around each region's border, in order (0 = the outside): starts and names."""
    starts = np.zeros(regions + 1, np.int64)
    stops = np.zeros(regions + 1, np.int64)
    names = np.empty(1024, np.int32)
    used = 0
    sizes = np.zeros(regions + 1, np.int64)
    for start in range(len(links)):
        name = region[start]
        if name == 0:
            continue
        sizes[name] += 1
        if stops[name] > starts[name]:
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
                    if used == len(names):
                        grown = np.empty(2 * used, np.int32)
                        grown[:used] = names
                        names = grown
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
        stops[name] = used
    return starts, stops, names[:used], sizes


@njit(cache=True, nogil=True)
def _stacked_pairs(starts, region, regions):
    """Which regions lie above one another: pairs as ``a * (regions + 1) + b``, with repetitions."""
    pairs = np.empty(1024, np.int64)
    used = 0
    for column in range(len(starts) - 1):
        for i in range(starts[column], starts[column + 1]):
            for j in range(starts[column], starts[column + 1]):
                if i == j or region[i] == 0 or region[j] == 0:
                    continue
                pair = np.int64(region[i]) * (regions + 1) + region[j]
                # neighbouring columns mostly repeat one another
                if used >= 2 and (pairs[used - 1] == pair or pairs[used - 2] == pair):
                    continue
                if used == len(pairs):
                    grown = np.empty(2 * used, np.int64)
                    grown[:used] = pairs
                    pairs = grown
                pairs[used] = pair
                used += 1
    return pairs[:used]


@njit(cache=True, nogil=True)
def _without_repeats(names, start, count):
    """Drop each entry of a ring that equals the next one, in place. Returns how many are left."""
    i = 0
    while i < count and count > 1:
        if names[start + i] == names[start + (i + 1) % count]:
            for j in range(i, count - 1):
                names[start + j] = names[start + j + 1]
            count -= 1
        else:
            i += 1
    return count


@njit(cache=True, nogil=True)
def _occurrences(names, start, count, name):
    """How often a name is in a list."""
    times = 0
    for n in range(start, start + count):
        times += names[n] == name
    return times


@njit(cache=True, nogil=True)
def _merge(starts, counts, names, sizes, over_starts, over_counts, over, overlapping, min_size, merge_size):
    """Drop islands of fewer than ``min_size`` floors, merge regions of at most ``merge_size``: new region names.

    ``names[starts[r]:][:counts[r]]`` are the neighbours of region r along its border, ``over`` likewise the regions
    that share a column with it. Merged lists are appended to copies of both.
    """
    regions = len(sizes)
    ids = np.arange(regions).astype(np.int32)
    visited = np.zeros(regions, np.bool_)
    stack = np.empty(regions, np.int32)
    trace = np.empty(regions, np.int32)
    for r in range(1, regions):
        if sizes[r] == 0 or visited[r]:
            continue
        visited[r] = True
        stack[0] = r
        count = 1
        traced = 0
        size = 0
        while count > 0:
            count -= 1
            member = stack[count]
            size += sizes[member]
            trace[traced] = member
            traced += 1
            for n in range(starts[member], starts[member] + counts[member]):
                other = names[n]
                if other != 0 and not visited[other]:
                    visited[other] = True
                    stack[count] = other
                    count += 1
        if size < min_size:
            for n in range(traced):
                sizes[trace[n]] = 0
                ids[trace[n]] = 0
    names_used = len(names)
    over_used = len(over)
    merged = True
    while merged:
        merged = False
        for r in range(1, regions):
            if ids[r] == 0 or overlapping[r] or sizes[r] == 0:
                continue
            if sizes[r] > merge_size and _occurrences(names, starts[r], counts[r], 0) > 0:
                continue
            smallest = 0xFFFFFFF
            target = ids[r]
            for n in range(starts[r], starts[r] + counts[r]):
                other = names[n]
                if other == 0 or ids[other] == 0 or overlapping[other] or sizes[other] >= smallest:
                    continue
                if (
                    _occurrences(names, starts[r], counts[r], ids[other]) <= 1
                    and _occurrences(over, over_starts[r], over_counts[r], ids[other]) == 0
                    and _occurrences(names, starts[other], counts[other], ids[r]) <= 1
                    and _occurrences(over, over_starts[other], over_counts[other], ids[r]) == 0
                ):
                    smallest = sizes[other]
                    target = ids[other]
            if target == ids[r]:
                continue
            old = ids[r]
            at_target = -1
            for n in range(counts[target]):
                if names[starts[target] + n] == old:
                    at_target = n
                    break
            at_old = -1
            for n in range(counts[r]):
                if names[starts[r] + n] == target:
                    at_old = n
                    break
            if at_target < 0 or at_old < 0:
                continue
            needed = names_used + counts[target] + counts[r]
            if needed > len(names):
                grown = np.empty(2 * needed, np.int32)
                grown[:names_used] = names[:names_used]
                names = grown
            joined = names_used
            for n in range(counts[target] - 1):
                names[names_used] = names[starts[target] + (at_target + 1 + n) % counts[target]]
                names_used += 1
            for n in range(counts[r] - 1):
                names[names_used] = names[starts[r] + (at_old + 1 + n) % counts[r]]
                names_used += 1
            starts[target] = joined
            counts[target] = _without_repeats(names, joined, names_used - joined)
            needed = over_used + over_counts[target] + over_counts[r]
            if needed > len(over):
                grown = np.empty(2 * needed, np.int32)
                grown[:over_used] = over[:over_used]
                over = grown
            joined = over_used
            for n in range(over_counts[target]):
                over[over_used] = over[over_starts[target] + n]
                over_used += 1
            for n in range(over_counts[r]):
                name = over[over_starts[r] + n]
                if _occurrences(over, joined, over_used - joined, name) == 0:
                    over[over_used] = name
                    over_used += 1
            over_starts[target] = joined
            over_counts[target] = over_used - joined
            sizes[target] += sizes[r]
            sizes[r] = 0
            counts[r] = 0
            for other in range(regions):
                if ids[other] == 0:
                    continue
                if ids[other] == old:
                    ids[other] = target
                changed = False
                for n in range(starts[other], starts[other] + counts[other]):
                    if names[n] == old:
                        names[n] = target
                        changed = True
                for n in range(over_starts[other], over_starts[other] + over_counts[other]):
                    if over[n] == old:
                        over[n] = target
                if changed:
                    counts[other] = _without_repeats(names, starts[other], counts[other])
            merged = True
    return ids


def partition(spans: OpenSpans, min_size: int, merge_size: int) -> tuple[np.ndarray, int]:
    """Give every floor a region.

    Args:
        spans: the floors.
        min_size: connected regions of fewer floors in all than this are dropped.
        merge_size: regions of at most so many floors are merged into a neighbour where that keeps them simple.

    Returns:
        The region (S,) int32 of each floor, 0 for none, and how many regions there are.
    """
    distance = border_distance(spans.links, spans.walkable)
    deepest = int(distance.max(initial=0))
    region, regions = _watershed(spans.links, spans.walkable, _blur(spans.links, distance), deepest)
    starts, stops, names, sizes = _neighbours_along_border(spans.links, region, regions)
    pairs = np.unique(_stacked_pairs(spans.starts, region, regions))
    below, above = np.divmod(pairs, regions + 1)
    over_starts = np.searchsorted(below, np.arange(regions + 2))
    overlapping = np.zeros(regions + 1, bool)
    overlapping[below[below == above]] = True
    ids = _merge(
        starts,
        stops - starts,
        names,
        sizes,
        over_starts[:-1].copy(),
        np.diff(over_starts),
        above.astype(np.int32),
        overlapping,
        min_size,
        merge_size,
    )
    kept, ranks = np.unique(ids, return_inverse=True)
    first = np.full(len(kept), len(ids))
    np.minimum.at(first, ranks, np.arange(len(ids)))
    # new names in the order in which the old ones first appear
    renamed = np.zeros(len(kept), np.int32)
    order = [k for k in np.argsort(first) if kept[k] != 0]
    renamed[order] = np.arange(1, len(order) + 1)
    return renamed[ranks][region], len(order)
