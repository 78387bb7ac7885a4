"""What a person can set about training a policy. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from poma3d.errors import SettingError

POLICIES = ("dagger", "ppo", "recurrent-ppo")
"""Ways to learn."""
FEATURES = ("backbone", "cnn", "blind", "random-backbone")
"""What a policy sees through: the frozen backbone, or one of the three controls."""
OUTPUTS = ("cls", "patch_tokens", "both")
"""What of the backbone's output a policy gets."""
DEFAULT_STEPS = {"dagger": 200_000, "ppo": 1_000_000, "recurrent-ppo": 500_000}
"""Environment steps of a training, where nothing else is asked for."""
LOWEST_CEILING = 2.0
"""Of the ceilings that a policy may be shown, metres: well above its camera."""


@dataclass(frozen=True)
class NetworkSettings:
    """The small network that acts on features and sensors; the same for every way to learn."""

    compressed: int = 16
    """Channels that each patch token is brought to before all are joined (a compression layer, as that of
    DD-PPO's ResNet and VC-1's; CLS alone does not navigate)."""
    hidden: int = 256
    """Width of the layer behind the joined tokens and of the recurrent state."""
    recurrent: bool = True
    """Whether the network remembers (a GRU); PPO has none, recurrent PPO brings an LSTM of its own."""
    temperature: float = 0.5
    """By chance among the moves as softmax(scores / temperature) has it, 0 = always the likeliest; STOP is never
    left to chance."""
    inertia: float = 1.0
    """Taken from the score of turning back at once: what the oracle knows and the learner cannot see leaves both
    turns as likely, and without it the agent would waver on the spot."""

    def __post_init__(self) -> None:
        if min(self.compressed, self.hidden) < 1:
            raise SettingError(
                f"compressed and hidden must be at least 1, found {self.compressed} and {self.hidden}"
            )
        if min(self.temperature, self.inertia) < 0:
            raise SettingError(
                f"temperature and inertia must be at least 0, found {self.temperature} and {self.inertia}"
            )


@dataclass(frozen=True)
class DaggerSettings:
    """Imitation of the oracle on the states that the learner itself comes to (Ross et al., arXiv 1011.0686)."""

    rounds: int = 10
    """Collections of experience; the first is led by the oracle alone."""
    lanes: int = 16
    """Episodes that run side by side, whose views are encoded in one batch."""
    oracle_decay: float = 0.5
    """The oracle leads a step of round r (from 0) with this probability to the power of r."""
    noise: float = 0.15
    """Share of random moves while the oracle leads, so that it shows how to recover."""
    patience: int = 30
    """Steps without coming nearer to the goal after which the oracle takes over for a while."""
    rescue: int = 10
    """Steps for which it does."""
    max_steps: int = 200
    """Steps after which an episode of training ends."""
    episodes_per_visit: int = 3
    """Episodes that a lane runs in a house before it takes the next one."""
    extra_goals: int = 4
    """Other goals that each episode is labelled for as well: the views, and so the features, stay the same."""
    epochs: int = 3
    """Passes over all experience after each round."""
    final_epochs: int = 6
    """Passes after the last round, while the learning rate falls to 0."""
    batch: int = 8
    """Episodes that learn side by side."""
    chunk: int = 16
    """Steps that gradients go back through."""
    learning_rate: float = 1e-3
    """AdamW's, at the top."""
    weight_decay: float = 1e-3
    """AdamW's."""
    stop_weight: float = 4.0
    """Weight of states where STOP is right, against all others: they are rare, and all of success."""
    turn_weight: float = 0.5
    """Weight of a second task: by how much to turn until the oracle would step."""
    clip: float = 1.0
    """Largest norm of the gradient."""

    def __post_init__(self) -> None:
        counts = (self.rounds, self.lanes, self.max_steps, self.episodes_per_visit, self.batch, self.chunk)
        if min(counts) < 1 or min(self.extra_goals, self.epochs, self.final_epochs) < 0:
            raise SettingError(
                "rounds, lanes, max_steps, episodes_per_visit, batch and chunk must be at least 1,"
                " extra_goals, epochs and final_epochs at least 0"
            )
        if not (0 <= self.oracle_decay <= 1 and 0 <= self.noise <= 1):
            raise SettingError(
                f"oracle_decay and noise lie in [0, 1], found {self.oracle_decay} and {self.noise}"
            )
        for name in ("learning_rate", "clip", "stop_weight"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("patience", "rescue", "turn_weight", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must be at least 0, found {getattr(self, name)}")


@dataclass(frozen=True)
class PpoSettings:
    """Proximal policy optimisation as Stable-Baselines3 does it; names are its own."""

    n_envs: int = 8
    """Environments side by side, whose views are encoded in one batch."""
    n_steps: int = 128
    """Steps of each environment between updates."""
    batch_size: int = 256
    """Steps of a minibatch."""
    n_epochs: int = 4
    """Passes over the steps of an update."""
    learning_rate: float = 2.5e-4
    """Adam's."""
    gamma: float = 0.99
    """Discount."""
    gae_lambda: float = 0.95
    """Of generalised advantage estimation."""
    ent_coef: float = 0.01
    """Weight of the entropy."""
    clip_range: float = 0.2
    """Of the policy's ratio."""
    segment: int = 8
    """Updates between checkpoints. At each the environments begin new episodes, so that a resumed run and an
    uninterrupted one do the same."""

    def __post_init__(self) -> None:
        counts = (self.n_envs, self.n_steps, self.batch_size, self.n_epochs, self.segment)
        if min(counts) < 1 or not self.learning_rate > 0:
            raise SettingError(
                "n_envs, n_steps, batch_size, n_epochs and segment must be at least 1 and learning_rate above 0"
            )
        if min(self.batch_size, self.n_envs * self.n_steps) < 2:
            raise SettingError(
                "batch_size and the steps of an update (n_envs times n_steps) must be at least 2, found"
                f" {self.batch_size} and {self.n_envs * self.n_steps}: advantages are compared within a batch"
            )
        if not (0 <= self.gamma <= 1 and 0 <= self.gae_lambda <= 1):
            raise SettingError(
                f"gamma and gae_lambda lie in [0, 1], found {self.gamma} and {self.gae_lambda}"
            )
        if not (self.clip_range > 0 and self.ent_coef >= 0):
            raise SettingError(
                f"clip_range must be above 0 and ent_coef at least 0, found {self.clip_range} and {self.ent_coef}"
            )


@dataclass(frozen=True)
class TrainSettings:
    """What decides the policy that comes out, and nothing else."""

    policy: Literal["dagger", "ppo", "recurrent-ppo"] = "dagger"
    """The way to learn."""
    features: Literal["backbone", "cnn", "blind", "random-backbone"] = "backbone"
    """What the policy sees through: the frozen backbone; or a control: a small CNN on the point map (cnn), the
    sensors alone (blind), an encoder of the shape of mini with random weights (random-backbone)."""
    backbone: str = "poma3d-mini"
    """Weights of the backbone, whatever `poma3d.checkpoints.load_encoder` takes."""
    output: Literal["cls", "patch_tokens", "both"] = "patch_tokens"
    """What of the backbone's output the policy gets."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """In which the backbone encodes while training; bf16 is twice as fast on processors that know it. A trained
    policy acts in float32, in its evaluations too."""
    scene: str = "procedural:train:500"
    """Scenes to train in: a mesh file or procedural:SPLIT:N for the first N houses."""
    episodes: str | int | None = None
    """An episode file, or how many episodes to generate; None = as many as are needed."""
    scenes_dir: str | None = None
    """Folder that scene paths in the episode file are looked up in."""
    steps: int = 0
    """Environment steps; 0 = the default of the way to learn."""
    held_out: int = 10
    """The last so many scenes are not trained in but kept for evaluation."""
    evaluation_episodes: int = 30
    """Episodes of an evaluation on the held-out scenes."""
    max_steps: int = 500
    """Most steps of an episode of evaluation, and of PPO's."""
    ceiling: float = 2.9
    """The trained policy is shown views under a ceiling of this height, metres, where a building has none or a
    higher one: houses of training have one of at most 2.9 m (`HouseSettings.ceiling_height`); 0 = views as they
    are."""
    evaluations: int = 4
    """How often is evaluated, the end included; the policy of the best evaluation is kept."""
    seed: int = 0
    """Of weights, episodes, order and chance."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """The network."""
    dagger: DaggerSettings = field(default_factory=DaggerSettings)
    """Where the policy is dagger."""
    ppo: PpoSettings = field(default_factory=PpoSettings)
    """Where it is ppo or recurrent-ppo."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("policy", self.policy, POLICIES),
            ("features", self.features, FEATURES),
            ("output", self.output, OUTPUTS),
        ):
            if value not in known:
                raise SettingError(f"{name} must be one of {', '.join(known)}, found {value!r}")
        if min(self.steps, self.seed, self.held_out) < 0:
            found = f"{self.steps}, {self.seed} and {self.held_out}"
            raise SettingError(f"steps, seed and held_out must be at least 0, found {found}")
        if self.ceiling and not LOWEST_CEILING <= self.ceiling < math.inf:
            raise SettingError(
                f"ceiling must be 0 (none) or at least {LOWEST_CEILING:g} m, found {self.ceiling}"
            )
        if isinstance(self.episodes, int) and self.episodes < 1:
            raise SettingError(f"at least 1 episode is needed, found {self.episodes}")
        if min(self.evaluation_episodes, self.evaluations, self.max_steps) < 1:
            found = f"{self.evaluation_episodes}, {self.evaluations} and {self.max_steps}"
            raise SettingError(
                f"evaluation_episodes, evaluations and max_steps must be at least 1, found {found}"
            )

    @property
    def total_steps(self) -> int:
        """Environment steps of the whole training."""
        return self.steps or DEFAULT_STEPS[self.policy]

    def open_features(self, precision: str | None = None) -> Any:
        """The features (`policies.learning.features.ViewFeatures`), in ``precision`` or in the settings' own."""
        from policies.learning.features import open_features

        return open_features(
            self.features, self.backbone, self.output, seed=self.seed, precision=precision or self.precision
        )

    def as_config(self) -> dict[str, Any]:
        """The settings as JSON values, without those of the other way to learn."""
        config = asdict(self) | {"steps": self.total_steps}
        del config["ppo" if self.policy == "dagger" else "dagger"]
        return config
