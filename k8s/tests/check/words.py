"""What can be checked as text: schema, table of values, versions, names of metrics.

Owns: what is generated (the schema's `settings`, the README's table). Never: a tool that is not in
Python's own library, so that these run everywhere.
"""

import json
import os
import re

from tools import ROOT

CHART = ROOT / "k8s" / "gavel"
IS_BLESSED = os.environ.get("BLESS") == "1"
# Read by gavel from the rules' files, where the chart does not look.
RULES = ("partners", "bidders", "floors", "rates")
# A name that Prometheus itself writes.
PROMETHEUS_OWN = {"up"}


def blessed(count, path, text, what):
    """A generated file is as it must be, or is written."""
    if IS_BLESSED and (not path.exists() or path.read_text() != text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"  wrote {path.relative_to(ROOT)}")
    is_same = path.exists() and path.read_text() == text
    count.that(is_same, f"{what} is up to date", f"{path.relative_to(ROOT)} is not: BLESS=1 .ci/chart writes it")


def reference():
    """Rows of configs/REFERENCE.md: (section, key, kind, allowed, meaning)."""
    section, rows = "", []
    for line in (ROOT / "configs" / "REFERENCE.md").read_text().splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 5:
            rows.append((section, cells[0].strip("`"), cells[1], cells[3], cells[4]))
    return rows


def kind_schema(kind, allowed):
    """What a value may be; limits with units are left to `gavel check`."""
    if kind == "integer":
        low, high = allowed.split(" to ")
        return {"type": "integer", "minimum": int(low), "maximum": int(high)}
    if kind == "flag":
        return {"type": "boolean"}
    if kind == "list":
        return {"type": "array", "items": {"type": ["string", "integer"]}}
    if kind == "choice":
        return {"enum": allowed.removeprefix("one of ").split(", ")}
    if kind == "duration":
        return {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
    if kind == "size":
        return {"type": ["integer", "string"], "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$"}
    if kind == "number":
        return {"type": "number"}
    return {"type": "string"}


def closed():
    return {"type": "object", "additionalProperties": False, "properties": {}}


def table_in(table, part):
    """The schema of a table in another; `NAME[]` is a list of such tables."""
    name, is_list = part.removesuffix("[]"), part.endswith("[]")
    fresh = {"type": "array", "items": closed()} if is_list else closed()
    inner = table["properties"].setdefault(name, fresh)
    return inner["items"] if is_list else inner


def settings_schema():
    """The closed schema of `settings`, from the reference."""
    root = closed()
    for section, key, kind, allowed, meaning in reference():
        if section.split("[")[0].split(".")[0] in RULES:
            continue
        table = root
        for part in [] if section == "top level" else section.split("."):
            table = table_in(table, part)
        table["properties"][key] = {**kind_schema(kind, allowed), "description": meaning}
    # read from the rules' files; here they get a sentence that says so
    root["properties"].update({name: {} for name in RULES})
    return root


def known_names(table):
    """Every name in a schema of tables, at any depth."""
    for name, inner in table.get("properties", {}).items():
        yield name
        yield from known_names(inner.get("items", inner))


def schema(count):
    path = CHART / "values.schema.json"
    known = json.loads(path.read_text())
    known["properties"]["settings"] = settings_schema()
    blessed(count, path, json.dumps(known, indent=2) + "\n", "the schema of `settings`")
    sections = len(known["properties"]["settings"]["properties"])
    count.that(sections > 10, "the reference has sections", f"{sections} were read")
    lists = [line for line in known_names(known["properties"]["settings"]) if "[" in line]
    count.that(not lists, "a list of tables is an array", ", ".join(lists))


def values_rows():
    """(path, default, meaning) of each documented key of values.yaml, and undocumented leaves."""
    rows, bare, stack, said = [], [], [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        indent = len(line) - len(line.lstrip())
        text = line.strip()
        if text.startswith("#"):
            said = [text[5:]] if text.startswith("# -- ") else (said + [text[2:]] if said else [])
            continue
        match = re.match(r"^([A-Za-z][A-Za-z0-9]*):\s*(.*)$", text)
        if not match or (stack and stack[-1][0] < indent and stack[-1][2]):
            if not text:
                said = []
            continue
        while stack and stack[-1][0] >= indent:
            stack.pop()
        key, default = match.groups()
        path = ".".join([one[1] for one in stack] + [key])
        # what lies below a documented key is its default
        stack.append((indent, key, bool(said)))
        if said:
            rows.append((path, default, " ".join(said)))
        elif default:
            bare.append(path)
        said = []
    return rows, bare


def schema_at(root, path):
    for part in path.split("."):
        root = root.get("properties", {}).get(part)
        if root is None:
            return None
    return root


def readme(count):
    rows, bare = values_rows()
    count.that(not bare, "every value is described", ", ".join(bare))
    root = json.loads((CHART / "values.schema.json").read_text())
    for path, _, _ in rows:
        count.that(schema_at(root, path) is not None, f"values.{path} is in the schema")
    table = "| value | default | meaning |\n|---|---|---|\n"
    for path, default, meaning in rows:
        shown = f"`{default}`" if default else "see values.yaml"
        table += f"| `{path}` | {shown} | {meaning} |\n"
    file = CHART / "README.md"
    text = file.read_text()
    start, end = "<!-- values: written by .ci/chart -->\n", "<!-- end of values -->"
    head, rest = text.split(start, 1)
    _, tail = rest.split(end, 1)
    blessed(count, file, head + start + table + end + tail, "the README's table of values")


def versions(count):
    chart = (CHART / "Chart.yaml").read_text()
    cargo = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.+)"', cargo, re.M).group(1)
    count.that(f'appVersion: "{version}"' in chart, "appVersion is the version in Cargo.toml", version)


def known_metrics():
    """Every name that /metrics has, by METRICS.md."""
    names = set()
    for line in (ROOT / "src" / "telemetry" / "METRICS.md").read_text().splitlines():
        match = re.match(r"\| `(gavel_[a-z0-9_]+)` \| (\w+) ", line)
        if match:
            name, kind = match.groups()
            ends = ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]
            names.update(name + end for end in ends)
    return names


def metrics(count):
    """Rules, dashboard and canary ask for nothing that gavel does not have."""
    known = known_metrics()
    count.that(len(known) > 30, "METRICS.md names the metrics", str(len(known)))
    for path in ("alerts/gavel.yaml", "dashboards/gavel.json", "templates/canary.yaml"):
        named = set(re.findall(r"\bgavel_[a-z0-9_]+", (CHART / path).read_text()))
        count.that(bool(named), f"{path} names metrics")
        for name in sorted(named):
            count.that(name in known, f"{path}: {name} is in METRICS.md")


def dashboard(count):
    board = json.loads((CHART / "dashboards" / "gavel.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    count.that(len({panel["id"] for panel in board["panels"]}) == len(board["panels"]), "ids of panels differ")
    for panel in panels:
        has_query = all(target.get("expr") for target in panel["targets"]) and panel["targets"]
        count.that(has_query and panel.get("description"), f"panel {panel['title']!r} has a query and says what it shows")
    places = [(p["gridPos"]["x"], p["gridPos"]["y"], p["gridPos"]["w"], p["gridPos"]["h"]) for p in panels]
    clash = [(a, b) for i, a in enumerate(places) for b in places[i + 1:]
             if a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]]
    count.that(not clash, "panels do not overlap", str(clash))
