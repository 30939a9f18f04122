"""The command line: flags become configuration, configuration becomes a composition, errors become exit codes."""
