"""What came of the checks.

Owns: Count. Invariant: what did not run is neither passed nor hidden.
"""

import os
import sys
import time

from tools import Missing


class Count:
    """Passed, failed, not run."""

    def __init__(self):
        self.passed, self.failed, self.not_run = 0, [], []
        self.start = time.monotonic()

    def that(self, holds, what, why=""):
        """One thing that must hold."""
        if holds:
            self.passed += 1
            return
        self.failed.append(what)
        print(f"FAILED: {what}\n{indented(why)}" if why else f"FAILED: {what}", flush=True)

    def group(self, title, function, *args):
        """Runs one group of checks; where a tool is missing, says so."""
        before, fails = self.passed, len(self.failed)
        try:
            function(self, *args)
        except Missing as why:
            self.not_run.append(title)
            print(f"NOT RUN: {title}: {why}", flush=True)
            return
        except Exception as fault:  # a broken check is a failure with a name, not an end of all
            self.that(False, f"{title}: the check itself broke", f"{type(fault).__name__}: {fault}")
        good, bad = self.passed - before, len(self.failed) - fails
        print(f"  {title}: {good} hold, {bad} do not ({time.monotonic() - self.start:.0f} s)", flush=True)

    def end(self):
        """The last lines, and the exit code."""
        for title in self.not_run:
            print(f"NOT RUN: {title}")
        is_strict = os.environ.get("GAVEL_CI_STRICT") == "1"
        print(f"chart: {self.passed} passed, {len(self.failed)} failed, {len(self.not_run)} skipped")
        if self.not_run and is_strict:
            print("GAVEL_CI_STRICT=1: a check that cannot run fails", file=sys.stderr)
        return 1 if self.failed or (self.not_run and is_strict) else 0


def indented(text):
    return "\n".join(f"    {line}" for line in str(text).strip().splitlines()[:40])
