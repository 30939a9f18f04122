"""Put one coding agent on a relay: messages go in once, with proof, and answers come back."""

__version__ = "0.1.0"
