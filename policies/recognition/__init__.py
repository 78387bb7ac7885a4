"""Objects recognised by a frozen encoder that was aligned with words, and a search that doubts what it recognises."""
