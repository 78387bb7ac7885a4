"""What a backbone's features are good for, measured while it trains: retrieval, probes, consistency."""
