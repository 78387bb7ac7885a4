"""Which regions are kept and which become one: small islands go, small regions join a neighbour.

After ``mergeAndFilterRegions`` in ``RecastRegion.cpp`` of Recast (Mikko Mononen, zlib licence), in plain
Python: there are hundreds of regions where there are millions of voxels.
"""

from __future__ import annotations

import numpy as np


def stacked_regions(columns: np.ndarray, region: np.ndarray, regions: int) -> list[set[int]]:
    """For each region the regions that share a column with it."""
    above: list[set[int]] = [set() for _ in range(regions + 1)]
    for apart in range(1, len(columns)):
        same = np.flatnonzero(columns[apart:] == columns[:-apart])
        if len(same) == 0:
            break
        pairs = np.unique(region[same].astype(np.int64) * (regions + 1) + region[same + apart])
        for lower, upper in zip(*(side.tolist() for side in np.divmod(pairs, regions + 1)), strict=True):
            if lower > 0 and upper > 0:
                above[lower].add(upper)
                above[upper].add(lower)
    return above


def _ring(names: list[int]) -> list[int]:
    """A ring of names without those that equal the next one; of equal names the last stays."""
    kept = [name for n, name in enumerate(names) if name != names[(n + 1) % len(names)]]
    return kept or names[-1:]


def without_islands(around: list[list[int]], sizes: list[int], min_size: int) -> list[bool]:
    """Which regions belong to connected ones of at least ``min_size`` floors together."""
    kept = [False] * len(sizes)
    visited = [False] * len(sizes)
    visited[0] = True
    for start in range(1, len(sizes)):
        if visited[start] or sizes[start] == 0:
            continue
        visited[start] = True
        members = [start]
        for member in members:
            for other in around[member]:
                if not visited[other]:
                    visited[other] = True
                    members.append(other)
        if sum(sizes[member] for member in members) >= min_size:
            for member in members:
                kept[member] = True
    return kept


def merge_regions(
    around: list[list[int]], above: list[set[int]], sizes: list[int], kept: list[bool], merge_size: int
) -> list[int]:
    """Merge regions of at most ``merge_size`` floors, and those without a border, into a small neighbour.

    Two regions merge where they meet once along their borders and no part of one lies above the other.
    ``around`` (neighbours along the border, 0 = the outside), ``above`` and ``sizes`` change. Returns each
    region's new name.
    """
    names = list(range(len(sizes)))
    members = [[name] for name in names]
    seen_by: list[set[int]] = [set() for _ in names]
    for region, ring in enumerate(around):
        for other in ring:
            seen_by[other].add(region)
    merged = True
    while merged:
        merged = False
        for region in range(1, len(sizes)):
            # a region that lies above itself is left alone
            if not kept[region] or sizes[region] == 0 or region in above[region]:
                continue
            if sizes[region] > merge_size and 0 in around[region]:
                continue
            target = region
            for other in around[region]:
                if (
                    other != 0
                    and kept[other]
                    and other not in above[other]
                    and (target == region or sizes[other] < sizes[target])
                    and other not in above[region]
                    and around[region].count(other) <= 1
                    and around[other].count(region) <= 1
                ):
                    target = other
            if target == region or region not in around[target]:
                continue
            at_target = around[target].index(region)
            at_region = around[region].index(target)
            around[target] = _ring(
                around[target][at_target + 1 :]
                + around[target][:at_target]
                + around[region][at_region + 1 :]
                + around[region][:at_region]
            )
            for other in around[region]:
                seen_by[other].add(target)
            around[region] = []
            for viewer in seen_by[region]:
                if region in around[viewer]:
                    around[viewer] = _ring([target if name == region else name for name in around[viewer]])
                    seen_by[target].add(viewer)
            for other in above[region]:
                above[other].discard(region)
                above[other].add(target)
                above[target].add(other)
            sizes[target] += sizes[region]
            sizes[region] = 0
            members[target] += members[region]
            for member in members[region]:
                names[member] = target
            merged = True
    return [name if kept[region] else 0 for region, name in enumerate(names)]
