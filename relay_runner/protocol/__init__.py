"""The words that runner, relay and provider hooks say to each other: values and rules, no I/O and no clock."""
