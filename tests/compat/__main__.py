"""Run the suites against the versions named, or all that are pinned: `python -m tests.compat [--others] [WORD...]`."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.compat import page, suites, versions

WORKERS = min(4, (os.cpu_count() or 1))


def main() -> int:
    """Return 1 where a test failed."""
    parser = argparse.ArgumentParser(prog="scripts/compat", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="PROVIDER@VERSION", help="or latest; default: every pinned version")
    parser.add_argument("--others", action="store_true", help="only the main job, of pins that are not the default")
    options = parser.parse_args()
    try:
        wanted = versions.others() if options.others else versions.meant(options.words) or versions.pins()
        for package, version in wanted:
            versions.install(package, version)
    except versions.Wrong as wrong:
        sys.stderr.write(f"scripts/compat: {wrong}\n")
        return 2
    chosen = [suites.MAIN_JOB] if options.others else list(suites.SUITES)
    results, failed = page.load(), False
    for package, version in wanted:
        counts = {}
        for suite in chosen:
            sys.stderr.write(f"--- {package} {version}: {suite}\n")
            counts[suite] = suites.run(package, version, suite, WORKERS)
        sys.stdout.write(f"{package} {version}: {', '.join(f'{suite} {one}' for suite, one in counts.items())}\n")
        sys.stdout.flush()
        failed |= any(one.failed for one in counts.values())
        if not options.others:
            page.note(results, package, version, time.strftime("%Y-%m-%d"), counts)
            page.save(results)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
