"""The world: scenes, simulators, episodes, measures and the Gymnasium environments."""
