"""The heart: one runner, one agent. Every duty of the running runner is one small service in a file of its own."""
