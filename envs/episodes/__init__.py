"""Episodes: Habitat's PointNav-v1 and ObjectNav-v1 data sets, read, written, generated and checked."""

from envs.episodes.dataset import Categories, EpisodeDataset, EpisodeFile, read_episodes, write_episodes
from envs.episodes.episode import AgentState, Episode, Goal, ViewPoint

__all__ = [
    "AgentState",
    "Categories",
    "Episode",
    "EpisodeDataset",
    "EpisodeFile",
    "Goal",
    "ViewPoint",
    "read_episodes",
    "write_episodes",
]
