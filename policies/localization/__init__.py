"""Where am I? Policies for `pomagym/Localization-v0`: retrieval by features, registration, and both with moving."""
