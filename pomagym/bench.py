"""`pomagym bench`: policies and encoders beside their controls, and how fast it all is; each part has its module."""

from __future__ import annotations

from typing import Annotated

import tyro

from pomagym.bench_encoder import Encoder, encoder
from pomagym.bench_encoding import Encoding, encoding
from pomagym.bench_localization import Localization, localization
from pomagym.bench_msnn import Msnn, msnn
from pomagym.bench_navigation import Navigation, navigation
from pomagym.bench_qa import Qa, question_answering
from pomagym.bench_retrieval import Retrieval, retrieval
from pomagym.bench_throughput import Throughput, throughput

Config = (
    Annotated[Encoder, tyro.conf.subcommand("encoder")]
    | Annotated[Encoding, tyro.conf.subcommand("encoding")]
    | Annotated[Navigation, tyro.conf.subcommand("navigation")]
    | Annotated[Localization, tyro.conf.subcommand("localization")]
    | Annotated[Msnn, tyro.conf.subcommand("msnn")]
    | Annotated[Qa, tyro.conf.subcommand("qa")]
    | Annotated[Retrieval, tyro.conf.subcommand("retrieval")]
    | Annotated[Throughput, tyro.conf.subcommand("throughput")]
)


def execute(
    config: Encoder | Encoding | Navigation | Localization | Msnn | Qa | Retrieval | Throughput,
) -> int:
    """Run the benchmark that the config describes and print its table or JSON."""
    match config:
        case Encoder():
            return encoder(config)
        case Encoding():
            return encoding(config)
        case Navigation():
            return navigation(config)
        case Localization():
            return localization(config)
        case Msnn():
            return msnn(config)
        case Qa():
            return question_answering(config)
        case Retrieval():
            return retrieval(config)
        case Throughput():
            return throughput(config)
