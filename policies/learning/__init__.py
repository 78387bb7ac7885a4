"""Policies that learn: imitation of the oracle (DAgger), PPO and recurrent PPO, on features computed once."""
