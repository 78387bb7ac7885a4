"""What the map-and-plan policy is made of: a metric map of what was seen, ways on it, and where to look next."""
