"""The embedded relay: an HTTP API, a bus and a durable store in one process."""
