"""The relay as runners and commands see it: over HTTP and WebSocket, in memory, or started on this machine."""
