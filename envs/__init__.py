"""The world: scenes, simulators, episodes, measures and the Gymnasium environments.

Importing it makes the environments' names known to Gymnasium, as Gymnasium 1.x asks of packages with environments
(it no longer reads entry points); nothing heavy is imported.
"""

from envs.registration import register_environments

register_environments()
