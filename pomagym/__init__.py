"""The harness as a whole: `import pomagym` lets `gymnasium.make` find the environments; commands are one file each."""

import envs as envs

__version__ = "0.1.0"
