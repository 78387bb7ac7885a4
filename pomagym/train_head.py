"""`pomagym train-head`: train a head that answers from a scene and a text on frozen features."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from policies.situated.settings import HeadSettings, TrainingSettings
from pomagym.head_options import check_data, file_facts, read_samples, scene_source, split_beside
from pomagym.printing import say_done_already

if TYPE_CHECKING:
    from policies.situated.samples import Answers, Sample
    from policies.situated.training import TrainedHead


@dataclass(frozen=True)
class Config:
    """Train a head on frozen features: specialist (as published), situated (ours), or a control that sees nothing.

    A run lives in its --out; the same command goes on where it was cut off, exactly. The epoch is chosen on held-out
    training scenes; --training.select test is the published practice, the best epoch on the test set.

    For example:

        pomagym train-head situated --data msnn_houses.json --scenes data/houses --out results/msnn/situated
        pomagym train-head specialist --data msnn_houses.json --scenes data/houses --out results/msnn/specialist
        pomagym train-head text_only --data msnn_houses.json --out results/msnn/text_only
        pomagym train-head specialist --qa scanqa --data ScanQA_v1.0_train.json --scenes scannet \\
            --out results/scanqa/specialist
    """

    kind: tyro.conf.Positional[Literal["specialist", "situated", "text_only", "pose_only"]]
    """Which head."""
    data: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """A file of training samples; may be given several times."""
    out: Path
    """The run's folder."""
    scenes: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A ScenePoint folder with the scenes; may be given several times. The controls need none."""
    encoder: str = "poma3d-mini"
    """The backbone: a name, a file or a folder that load_encoder takes (docs/encoder.md)."""
    text_weights: str | None = None
    """The mini text tower to start from; default: the one beside the encoder, where there is one; none: random
    weights."""
    split: Path | None = None
    """A list of scenes, a name a line: only their samples are trained on; default: the one *_train.txt beside the
    data, where there is one."""
    qa: Literal["scanqa", "sqa3d", "hypo3d"] | None = None
    """The files hold questions with words for answers, of this format, instead of MSNN samples."""
    test: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Files of test samples, read only with --training.select test."""
    head: HeadSettings = field(default_factory=HeadSettings)
    """What the head is made of."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """How it is trained."""
    cache: Path | None = None
    """Folder for the features of scenes; default: POMAGYM_CACHE or ~/.cache/pomagym."""
    seed: int = 0
    """Of weights, order, dropout and the held-out scenes."""
    json: bool = False
    """Print what came out as JSON, alone on standard output."""


def execute(config: Config) -> int:
    """Make features, train, write the head."""
    from dataclasses import replace

    from benchmarks.folder_lock import locked
    from policies.situated.samples import Answers, Sample
    from poma3d.errors import SettingError

    check_data(config.data)
    if config.head.kind not in (HeadSettings.kind, config.kind):
        raise SettingError(f"the head is named by the first word, {config.kind}; leave --head.kind out")
    if config.training.seed not in (TrainingSettings.seed, config.seed):
        raise SettingError("the seed is --seed; leave --training.seed out")
    head = replace(config.head, kind=config.kind)
    training = replace(config.training, seed=config.seed)
    test_files = config.test if training.select == "test" else ()
    if config.qa is None:
        split = config.split or split_beside(config.data, "train")
        samples = [Sample.of_msnn(sample) for sample in read_samples(config.data, split)]
        test_split = split_beside(test_files, "val")
        test = [Sample.of_msnn(sample) for sample in read_samples(test_files, test_split)]
        answers = Answers.directions()
    else:
        from benchmarks.question_answering import answer_list, read_questions

        samples = read_questions(config.data, config.qa)
        test = read_questions(test_files, config.qa) if test_files else []
        answers = Answers.words(answer_list(samples))
    if not samples:
        raise SettingError("there are no samples to train on in " + ", ".join(map(str, config.data)))
    with locked(config.out):
        trained = _train(config, samples, test, answers, head, training)
    facts = {"head": str(trained.path), "weights_sha256": trained.weights_sha256, **trained.notes}
    if config.json:
        print(json.dumps(facts, indent=2))
    else:
        score = trained.notes["selection_accuracy"]
        print(f"head      {trained.path}  (weights {trained.weights_sha256[:12]})")
        print(f"epoch     {trained.notes['epoch']}, chosen on {trained.notes['selected_on']}")
        if score is not None:
            print(f"accuracy  {score:.1%} there, mean of the outputs")
    print(f"curves: pomagym view {shlex.quote(str(config.out))}", file=sys.stderr)
    return 0


def _train(
    config: Config,
    samples: list[Sample],
    test: list[Sample],
    answers: Answers,
    head: HeadSettings,
    training: TrainingSettings,
) -> TrainedHead:
    """Make the features that are missing and train, or go on with a run that was cut off."""
    from policies.situated.posed import PosedFeatures, by_scene
    from policies.situated.training import BLIND, EpochReport, HeadTraining
    from poma3d.errors import SettingError
    from pomagym.progress import Bar

    asked = [*samples, *test]
    features = None
    if config.kind not in BLIND:
        source = scene_source(config.scenes, config.encoder, config.cache)
        if source is None:
            raise SettingError(f"the head {config.kind} looks at scenes: name their folder, --scenes DIR")
        features = source.features(head.placing)
        scans = {sample.scan_id for sample in asked}
        features.require(scans)
        with Bar("features", len(scans)) as bar:
            features.prepare(scans, bar.advance)
        posed = PosedFeatures(features, head)
        if posed.ways or posed.from_agent:
            with Bar("ways", len(by_scene(asked))) as bar:
                posed.prepare(asked, bar.advance)
    run = HeadTraining(
        samples,
        answers,
        features,
        head,
        training,
        config.out,
        text_weights=_text_weights(config),
        test=test,
        facts={"data": file_facts(config.data)},
    )
    done_already = run.epoch >= training.epochs
    with Bar(f"{config.kind}, epochs", training.epochs) as bar:
        bar.start(training.epochs, run.epoch)

        def report(at: EpochReport) -> None:
            found = ", ".join(f"{name} {share:.1%}" for name, share in at.accuracy.items())
            line = f"loss {at.loss:.3f}, {found or 'nothing held out'}, best {at.best}, {at.seconds:.0f} s"
            bar.advance(line)
            if not sys.stderr.isatty():
                print(f"epoch {at.epoch}/{at.epochs}: {line}", file=sys.stderr)

        trained = run.run(report)
    if done_already:
        say_done_already(config.out)
    return trained


def _text_weights(config: Config) -> str | None:
    """The file of the mini text tower; None for random weights."""
    from poma3d.errors import UserError
    from poma3d.towers.loading import text_beside

    if config.kind == "pose_only" or config.head.text != "mini" or config.text_weights == "none":
        return None
    if config.text_weights is not None:
        return config.text_weights
    try:
        beside = text_beside(config.encoder, 0)
    except UserError:
        return None  # an encoder that no mini text tower was trained with
    return beside if beside.endswith(".safetensors") else None
