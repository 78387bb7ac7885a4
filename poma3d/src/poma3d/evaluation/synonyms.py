"""What other scenes call the things of the procedural houses, so that probes learned there can be scored on them.

Fixed before anything was measured. What a scene has and the houses have not (an elevator, a rowing machine) has no
entry and is not scored. The words are those of the AWS RoboMaker scenes `small_house` and `hospital`.
"""

SYNONYMS = {
    "carpet": "rug",
    "chandelier": "ceiling lamp",
    "cooking bench": "stove",
    "curtain_closed": "curtain",
    "curtain_half_open": "curtain",
    "curtain_open": "curtain",
    "desk portrait": "picture",
    "elevator_01_door": "door",
    "floor_01_ceiling": "ceiling",
    "floor_01_floor": "floor",
    "floor_01_walls": "wall",
    "folding door": "door",
    "house wall": "wall",
    "kitchen cabinet": "cabinet",
    "kitchen table": "dining table",
    "night stand": "nightstand",
    "nursesstation": "counter",
    "portrait": "picture",
    "rangehood": "range hood",
    "reading desk": "desk",
    "room wall": "wall",
    "room window": "window",
    "trash": "bin",
    "tvcabinet": "tv stand",
}
