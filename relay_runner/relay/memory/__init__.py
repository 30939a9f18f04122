"""A relay in this process's memory, under the same rules as the real one: for tests, and for what needs no store."""
