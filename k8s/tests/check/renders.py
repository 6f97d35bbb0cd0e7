"""What the chart renders: goldens, refusals, and what must hold of every render.

Owns: the cases under k8s/tests (values with their arguments in a comment). Never: a schema of
Kubernetes (see outside.py). Invariant: helm 3 and helm 4 render the same.
"""

import json
import re

import yaml

from tools import ROOT, helms, run
from words import CHART, blessed

TESTS = ROOT / "k8s" / "tests"
# A namespace and a release that no value names.
RELEASE = ["template", "ex", str(CHART), "--namespace", "auctions"]


def head(path, word):
    """Values of `# word: ...` lines at the start of a case."""
    lines = path.read_text().splitlines()
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith(f"# {word}:")]


def arguments(path):
    return [part for line in head(path, "args") for part in line.split()]


def render(helm, path, *more):
    return run([helm, *RELEASE, "--values", path, *arguments(path), *more])


def canonical(text):
    """helm 3 and 4 differ in empty lines only."""
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line) + "\n"


def cases():
    return sorted((TESTS / "cases").glob("*.yaml"))


def objects(path):
    """Of a golden."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def golden(path):
    return TESTS / "golden" / path.name


def goldens(count):
    for path in cases():
        for name, helm in sorted(helms().items()):
            result = render(helm, path)
            what = f"{path.stem} renders with {name}"
            count.that(result.returncode == 0, what, result.stderr)
            if result.returncode == 0:
                blessed(count, golden(path), canonical(result.stdout), f"golden of {path.stem} ({name})")
    known = {path.name for path in cases()}
    for path in (TESTS / "golden").glob("*.yaml"):
        count.that(path.name in known, f"golden {path.name} belongs to a case")


def lint(count):
    for name, helm in sorted(helms().items()):
        for path in cases():
            result = run([helm, "lint", "--strict", "--quiet", CHART, "--values", path, *arguments(path)])
            count.that(result.returncode == 0, f"{name} lint of {path.stem}", result.stdout + result.stderr)


def squeezed(text):
    return re.sub(r"\s+", " ", text.replace('\\"', '"'))


def refusals(count):
    """What would hurt does not render, and the message says what to do."""
    paths = sorted((TESTS / "refused").glob("*.yaml"))
    count.that(len(paths) > 20, "there are cases of refusal", str(len(paths)))
    for path in paths:
        wanted = head(path, "expect")
        count.that(bool(wanted), f"refused/{path.name} says what it expects")
        for name, helm in sorted(helms().items()):
            result = render(helm, path)
            said = squeezed(result.stderr)
            count.that(result.returncode != 0, f"{path.stem} is refused by {name}", "it rendered")
            for sentence in wanted:
                count.that(squeezed(sentence) in said, f"{path.stem}: {name} says {sentence!r}", said[:1500])


def pods(things):
    """(name, kind, annotations, spec) of every pod template."""
    for thing in things:
        template = thing.get("spec", {}).get("template") if isinstance(thing.get("spec"), dict) else None
        if template and "spec" in template:
            yield thing, template["spec"]


def invariants(count):
    """What must hold of every render, whatever the values."""
    for path in cases():
        things = objects(golden(path))
        for thing in things:
            name = f"{path.stem}: {thing['kind']} {thing['metadata']['name']}"
            count.that(len(thing["metadata"]["name"]) <= 63, f"{name}: a name of at most 63")
        scaled = {thing["spec"]["scaleTargetRef"]["name"] for thing in things
                  if thing["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")}
        for thing, spec in pods(things):
            name = f"{path.stem}: {thing['kind']} {thing['metadata']['name']}"
            check_pod(count, name, spec)
            check_disk(count, name, spec)
            if thing["kind"] in ("Deployment", "StatefulSet", "Rollout"):
                has = "replicas" in thing["spec"]
                is_scaled = thing["metadata"]["name"] in scaled
                count.that(has != is_scaled, f"{name}: replicas unless an autoscaler decides")
                check_serving(count, name, thing, spec, things)


def switches(count):
    """What can be switched off is gone, and everything is in the release's namespace."""
    path = TESTS / "cases" / "eks-alb.yaml"
    off = {"networkPolicy.enabled": "NetworkPolicy", "serviceMonitor.enabled": "ServiceMonitor",
           "prometheusRule.enabled": "PrometheusRule", "ingress.enabled": "Ingress",
           "serviceAccount.create": "ServiceAccount"}
    for name, helm in sorted(helms().items()):
        for key, kind in off.items():
            count.that(kind in kinds(render(helm, path).stdout), f"{name}: {kind} is there")
            result = render(helm, path, "--set-json", f"{key}=false")
            count.that(result.returncode == 0 and kind not in kinds(result.stdout), f"{name}: {key}=false: no {kind}")
    for path in cases():
        for thing in objects(golden(path)):
            has = thing["metadata"].get("namespace") == "auctions"
            count.that(has, f"{path.stem}: {thing['kind']} {thing['metadata']['name']} has the release's namespace")


def kinds(text):
    return {one["kind"] for one in yaml.safe_load_all(text) if one}


def ways(things):
    """What an entry leads where: (hosts or none, path, backends, path that gavel sees)."""
    for thing in things:
        name, spec = thing["metadata"]["name"], thing["spec"] if "spec" in thing else {}
        if thing["kind"] == "HTTPRoute":
            for rule in spec["rules"]:
                rewrites = [one["urlRewrite"]["path"]["replacePrefixMatch"] for one in rule.get("filters", [])]
                for match in rule["matches"]:
                    path = match["path"]["value"]
                    yield spec.get("hostnames", []), path, rule["backendRefs"], (rewrites or [path])[0]
        elif thing["kind"] == "Ingress":
            notes = thing["metadata"]["annotations"]
            transform = json.loads(notes.get(f"alb.ingress.kubernetes.io/transforms.{name}", "[]"))
            rewrites = [one for each in transform for one in each["urlRewriteConfig"]["rewrites"]]
            for rule in spec["rules"]:
                for one in rule["http"]["paths"]:
                    seen = f"{one['path']}/token"
                    for rewrite in rewrites:
                        seen = re.sub(rewrite["regex"], rewrite["replace"].replace("$1", r"\1"), seen)
                    backend = one["backend"]["service"]
                    refs = [{"name": backend["name"], "port": backend["port"]["name"]}]
                    yield [rule["host"]] if "host" in rule else [], one["path"], refs, seen.removesuffix("/token")


def is_for(hosts, host):
    return not hosts or any(one == host or one.startswith("*.") and host.endswith(one[1:]) for one in hosts)


def entries(count):
    """What is in front leads to ports that are there, and brings events to gavel and to nobody else."""
    combined = set()
    for path in cases():
        things = objects(golden(path))
        services = {one["metadata"]["name"]: one["spec"] for one in things if one["kind"] == "Service"}
        found = list(ways(things))
        for _, way, refs, _ in found:
            for ref in refs:
                ports = [port.get(key) for port in services.get(ref["name"], {}).get("ports", [])
                         for key in ("port", "name")]
                is_ours = ref["name"] in services
                count.that(not is_ours or ref["port"] in ports, f"{path.stem}: {way}: {ref['name']} has the port {ref['port']}")
        url = re.search(r'^url = "https?://([^/"]+)([^"]*)"$', toml_of(things), re.M)
        for kind in {one["kind"] for one in things} & {"Ingress", "HTTPRoute"} if url else ():
            host, base = url.groups()
            own = list(ways([one for one in things if one["kind"] == kind]))
            mine = [(refs, seen) for hosts, way, refs, seen in own if is_for(hosts, host) and way == f"{base}/e"]
            count.that(len(mine) == 1, f"{path.stem}: one way for events in the {kind}", str(own))
            for refs, seen in mine:
                combined.add(kind)
                count.that(seen == "/e", f"{path.stem}: gavel sees /e", seen)
                count.that(all(ref["name"] in services for ref in refs), f"{path.stem}: events go to this fleet", str(refs))
    count.that(combined == {"Ingress", "HTTPRoute"}, "cases combine events with an entry of each kind", str(combined))


def check_disk(count, name, spec):
    """What folders may take, and a log's 64 MiB, is within the pod's limit: it is not evicted."""
    folders = [volume["emptyDir"].get("sizeLimit", "") for volume in spec["volumes"] if "emptyDir" in volume]
    stays = [one for one in spec.get("initContainers", []) if one.get("restartPolicy") == "Always"]
    limits = [one["resources"]["limits"]["ephemeral-storage"] for one in stays + spec["containers"]]
    taken, limit = sum(map(mib, folders)), sum(map(mib, limits))
    count.that(taken + 64 * len(limits) <= limit, f"{name}: its disk holds its folders", f"{folders} in {limits}")


def mib(text):
    return int(re.fullmatch("([0-9]+)Mi", text).group(1))


def monitors(count):
    """The job that alerts ask for is the one that the ServiceMonitor gives, whatever the release is called."""
    asked = set(re.findall(r'job="([^"]+)"', (CHART / "alerts" / "gavel.yaml").read_text()))
    names = set()
    for path in cases():
        things = objects(golden(path))
        for monitor in [one for one in things if one["kind"] == "ServiceMonitor"]:
            wanted = monitor["spec"]["selector"]["matchLabels"].items()
            labels = [one["metadata"]["labels"] for one in things if one["kind"] == "Service"]
            jobs = {one.get(monitor["spec"]["jobLabel"]) for one in labels if wanted <= one.items()}
            names.add(dict(wanted)["app.kubernetes.io/name"])
            count.that(jobs == asked, f"{path.stem}: the job is {asked}", str(jobs))
    count.that(len(names) > 1, "a case is called something else", str(names))


def balancers(count):
    """Behind an ALB, of an Ingress or of a route, gavel keeps connections longer and believes it."""
    for path in cases():
        things = objects(golden(path))
        values = yaml.safe_load(path.read_text()) or {}
        route = values.get("httpRoute", {})
        is_alb = values.get("ingress", {}).get("enabled") or route.get("enabled") and route.get("behind") == "alb"
        toml = toml_of(things)
        words = ('\nidle_time = "75s"', '\nstranger_idle_time = "75s"', "\ntrusted_proxies = [")
        count.that(all((word in toml) == bool(is_alb) for word in words), f"{path.stem}: as behind an ALB: {bool(is_alb)}")


def toml_of(things):
    settings = next(one for one in things if one["metadata"]["name"].endswith("-settings"))
    return settings.get("data", settings.get("stringData"))["gavel.toml"]


def check_pod(count, name, spec):
    text = json.dumps(spec)
    count.that("livenessProbe" not in text and "startupProbe" not in text, f"{name}: readiness only")
    count.that("subPath" not in text, f"{name}: no subPath")
    count.that(spec["automountServiceAccountToken"] is False, f"{name}: no token")
    count.that(spec["enableServiceLinks"] is False, f"{name}: no service links")
    for one in spec.get("initContainers", []) + spec["containers"]:
        security, resources = one["securityContext"], one["resources"]
        is_restricted = (security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
                         and security["capabilities"] == {"drop": ["ALL"]} and security["runAsNonRoot"])
        count.that(is_restricted, f"{name}/{one['name']}: restricted")
        count.that(resources["requests"] == resources["limits"], f"{name}/{one['name']}: Guaranteed")


def check_serving(count, name, thing, spec, things):
    gavel = spec["containers"][0]
    count.that(re.fullmatch("[1-9][0-9]*", gavel["resources"]["limits"]["cpu"]), f"{name}: whole CPUs")
    toml = toml_of(things)
    drain = {key: int(value) for key, value in re.findall(r'^(min|max) = "(\d+)s"$', toml, re.M)}
    needed = gavel["lifecycle"]["preStop"]["sleep"]["seconds"] + drain["min"] + drain["max"] + 5
    count.that(spec["terminationGracePeriodSeconds"] >= needed, f"{name}: the drain fits", str(needed))
    ports = {port["containerPort"] for port in gavel["ports"]}
    count.that(9091 not in ports and 'listen = "127.0.0.1:9091"' in toml, f"{name}: admin stays inside")
    labels = thing["spec"]["template"]["metadata"]["labels"]
    wanted = thing["spec"]["selector"]["matchLabels"]
    count.that(wanted.items() <= labels.items(), f"{name}: selects its own pods")
    mounts = {mount["name"] for one in [gavel, *spec.get("initContainers", [])] for mount in one["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in spec["volumes"]} | claims
    count.that(mounts == volumes, f"{name}: every volume is mounted", f"{mounts ^ volumes}")
    selectors = [one["spec"]["podSelector"]["matchLabels"] for one in things if one["kind"] == "NetworkPolicy"]
    hits = [one for one in selectors if one.items() <= labels.items()]
    count.that(len(hits) == 1, f"{name}: one NetworkPolicy selects it", str(selectors))


def templates_of(text):
    """The pod templates of a render, by kind and name."""
    things = [one for one in yaml.safe_load_all(text) if one]
    return {f"{thing['kind']} {thing['metadata']['name']}": thing["spec"]["template"]
            for thing, _ in pods(things)}


# What gavel takes while it runs, and what it does not, by case: the words of a change and its value.
HOT = {
    "eks-alb": {
        "rules": 'rules.files={"more.toml":"# nothing"}',
        "sellers.json": 'rules.sellersJson="{\\"sellers\\":[1]}"',
        "a renewed database": 'databases.files.device_models.text="# none"',
        "replicas that share a rate": "qpsShares=77",
        "how databases are checked": "settings.databases.canary_percent=50",
        "what is recorded": "settings.capture.sample_ppm=7",
    },
    "statefulset": {
        "keys of tokens": 'events.keys.list=[{"id":3,"key":"winter"},{"id":2,"key":"autumn"}]',
        "where partners reach us": 'events.url="https://e.exchange.example"',
        "the life of a token": 'settings.events.banner_ttl="2h"',
    },
}
COLD = {
    "eks-alb": {
        "limits": "settings.limits.imps_max=7",
        "the network": 'settings.network.idle_max="7s"',
        "the listener": 'settings.listener.backlog="512"',
        "sizes of caches": "settings.databases.geo_cache_entries=77",
        "the drain": "drain.minSeconds=21",
        "admission": "settings.admission.in_flight_max=777",
    },
    "statefulset": {
        "events that wait": "settings.events.in_flight_max=77",
        "the journal": 'settings.journal.keep_for="99h"',
        "how notices are sent": 'settings.notices.total="2s"',
    },
}


def restarts(count):
    """What gavel takes while it runs restarts nothing; what it does not, restarts the pods."""
    for name, helm in sorted(helms().items()):
        for case in HOT:
            path = TESTS / "cases" / f"{case}.yaml"
            before = templates_of(render(helm, path).stdout)
            for is_hot, changes in ((True, HOT[case]), (False, COLD[case])):
                for what, change in changes.items():
                    result = render(helm, path, "--set-json", change)
                    count.that(result.returncode == 0, f"{name}: {change}", result.stderr)
                    is_same = templates_of(result.stdout) == before
                    word = "restarts nothing" if is_hot else "restarts the pods"
                    count.that(is_same == is_hot, f"{name}: a change of {what} {word}")
