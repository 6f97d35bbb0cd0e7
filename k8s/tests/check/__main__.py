"""Checks of everything in k8s/. Run as `.ci/chart`.

Owns: the order of the groups. Starts itself again inside the environment that has a YAML reader;
where that cannot be had, what needs nothing but Python still runs.
"""

import os
import pathlib
import sys

sys.dont_write_bytecode = True

import words
from count import Count
from tools import Missing, environment


def everything(count):
    """Inside the environment."""
    import outside
    import renders

    count.group("goldens, helm 3 and helm 4", renders.goldens)
    count.group("lint, helm 3 and helm 4", renders.lint)
    count.group("what must hold of every render", renders.invariants)
    count.group("what leads to the pods", renders.entries)
    count.group("what an ALB needs", renders.balancers)
    count.group("what alerts ask for", renders.monitors)
    count.group("what can be switched off", renders.switches)
    count.group("what would hurt is refused", renders.refusals)
    count.group("what restarts the pods", renders.restarts)
    count.group("schemas of Kubernetes 1.30 to 1.37", outside.schemas)
    count.group("types of custom resources", outside.custom_resources)
    count.group("gavel takes the rendered configuration", outside.gavel_check)
    count.group("arguments of gavel", outside.gavel_arguments)
    count.group("nodes", outside.nodes)
    count.group("arguments of the replay Job", outside.replay_arguments)
    count.group("alerts are useful", outside.alerts_are_useful)
    count.group("promtool", outside.alerts)
    count.group("admission policy", outside.policy)
    count.group("Argo CD", outside.argo)
    count.group("image", outside.image)
    count.group("checkov", outside.checkov)


def words_only(count):
    """With Python alone."""
    count.group("schema of the settings", words.schema)
    count.group("table of values", words.readme)
    count.group("versions", words.versions)
    count.group("names of metrics", words.metrics)
    count.group("dashboard", words.dashboard)


def main():
    count = Count()
    try:
        python = environment("requirements")
    except Missing as why:
        words_only(count)
        print(f"NOT RUN: renders and everything that looks at them: {why}")
        count.not_run.append("renders and everything that looks at them")
        return count.end()
    if pathlib.Path(sys.prefix) != python.parent.parent:
        os.execv(python, [str(python), *sys.argv])
    words_only(count)
    everything(count)
    return count.end()


sys.exit(main())
