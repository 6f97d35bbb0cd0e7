"""What other tools say of the renders: Kubernetes' schemas, custom resources, gavel itself,
Prometheus, checkov, the policy's own language.

Owns: how each tool is asked. Never: a verdict of its own; a tool that is missing raises Missing.
"""

import base64
import binascii
import json
import os
import pathlib
import re
import secrets
import shutil
import tempfile
import tomllib

import yaml

from renders import TESTS, arguments, cases, golden, objects
from tools import HOME, LOCK, ROOT, Missing, binary, built, environment, node_models, run, unpacked
from words import CHART

K8S = ROOT / "k8s"
# What the chart says it runs on, to the newest that has schemas.
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
# Groups of Kubernetes itself; everything else is a custom resource.
OWN_GROUPS = ("v1", "apps/", "batch/", "autoscaling/", "policy/", "networking.k8s.io/",
              "admissionregistration.k8s.io/", "rbac.authorization.k8s.io/")


def is_own(thing):
    version = thing.get("apiVersion", "")
    return version == "v1" or version.startswith(OWN_GROUPS[1:])


def beside():
    """Manifests that stand beside the chart."""
    found = []
    for folder in ("nodes", "policies", "examples"):
        found += sorted((K8S / folder).glob("*.yaml"))
    return found


def least(path):
    """The oldest version that a case is for: `# args: --kube-version 1.NN`."""
    words = arguments(path)
    named = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--kube-version"]
    return int(named[0].split(".")[1]) if named else 30


def schemas(count):
    """Strict schemas of Kubernetes, for every version that the chart allows."""
    import kubernetes_validate

    inputs = [(golden(path), least(path)) for path in cases()] + [(path, 30) for path in beside()]
    for path, oldest in inputs:
        own = [thing for thing in objects(path) if is_own(thing)]
        for version in VERSIONS:
            if int(version.split(".")[1]) < oldest:
                continue
            for thing in own:
                what = f"{path.name}: {thing['kind']} {thing['metadata']['name']} in {version}"
                try:
                    kubernetes_validate.validate(thing, version, strict=True)
                    count.that(True, what)
                except Exception as fault:
                    count.that(False, what, fault)


def custom_resources(count):
    """Types and required fields of custom resources; unknown fields are not found by these."""
    folder = node_models()
    things = [(path.name, thing) for path in [golden(c) for c in cases()] + beside()
              for thing in objects(path) if not is_own(thing) and thing["kind"] != "NodeConfig"]
    script = folder / "ask.mjs"
    shutil.copy(TESTS / "check" / "custom.mjs", script)
    result = run(["node", script], cwd=folder, input=json.dumps([thing for _, thing in things]))
    if result.returncode != 0:
        raise Missing(f"the validators do not run: {result.stderr.strip()[-300:]}")
    verdicts = json.loads(result.stdout)
    for (name, thing), verdict in zip(things, verdicts, strict=True):
        what = f"{name}: {thing['kind']} {thing['metadata']['name']}"
        count.that(verdict == "ok", what, verdict)


def laid_out(path, root):
    """What gavel would find in its pod: ConfigMaps and Secrets as folders. Databases from outside
    the chart are the demo's."""
    things = objects(golden(path))
    texts = {}
    for thing in things:
        if thing["kind"] in ("ConfigMap", "Secret"):
            data = {key: value.encode() for key, value in (thing.get("data") or {}).items()}
            data |= {key: value.encode() for key, value in (thing.get("stringData") or {}).items()}
            data |= {key: base64.b64decode(value) for key, value in (thing.get("binaryData") or {}).items()}
            texts[thing["metadata"]["name"]] = data
    serving = next(t for t in things if t["kind"] in ("Deployment", "StatefulSet", "Rollout"))
    spec = serving["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    outside = []
    for volume in spec["volumes"]:
        named = (volume.get("configMap") or {}).get("name") or (volume.get("secret") or {}).get("secretName")
        folder = root / mounts[volume["name"]].lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if named in texts:
            for key, content in texts[named].items():
                (folder / key).write_bytes(content)
        elif volume["name"] != "state":
            outside.append(volume["name"])
    return root / "etc/gavel/settings/gavel.toml", outside


DEMO = {
    "city": "geo/demo-city.mmdb", "country": "geo/demo-city.mmdb", "isp": "geo/demo-isp.mmdb",
    "asn": "geo/demo-isp.mmdb", "connection_type": "geo/demo-connection-type.mmdb",
    "anonymous": "geo/demo-anonymous-ip.mmdb", "device_regexes": "device/regexes.yaml",
    "device_models": "device/models.toml",
}


def private_key():
    """One of Ed25519 that nobody has seen (RFC 8410, 7)."""
    der = bytes.fromhex("302e020100300506032b657004220420") + secrets.token_bytes(32)
    return f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END PRIVATE KEY-----\n"


def credentials():
    """Of a user of NATS whom no server knows: a token, and a seed with its kind and check sum."""
    raw = bytes([18 << 3 | 20 >> 2, (20 & 3) << 6]) + secrets.token_bytes(32)
    seed = base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")
    token, kinds = "e30.e30.e30", ("NATS USER JWT", "USER NKEY SEED")
    return "".join(f"-----BEGIN {kind}-----\n{text}\n------END {kind}------\n\n"
                   for kind, text in zip(kinds, (token, seed)))


def stand_in(main, gavel):
    """The demo's databases where the chart expects somebody else's; rules likewise."""
    text = main.read_text()
    for role, demo in DEMO.items():
        match = re.search(rf'^{role} = "(.+)"$', text, re.M)
        if not match:
            continue
        at = pathlib.Path(os.path.normpath(main.parent / match.group(1)))
        if at.is_dir():
            run([gavel, "pack-db", ROOT / "configs/demo" / demo, "--out", at])
        elif not at.exists():
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "configs/demo" / demo, at)
    for name in re.findall(r'"(\.\./rules/[^"]+)"', text):
        at = pathlib.Path(os.path.normpath(main.parent / name))
        if not at.exists():
            shutil.copy(ROOT / "configs/demo" / at.name, at)
    for name in re.findall(r'^secret_file = "(.+)"$', text, re.M):
        at = pathlib.Path(os.path.normpath(main.parent / name))
        at.write_text(f"a secret of the tests, for {at.name} alone\n")
    referred = "".join(one.read_text() for one in [main, *main.parent.parent.glob("rules/*.toml")])
    for name in re.findall(r"\$\{file:(.+?)\}", referred):
        at = pathlib.Path(os.path.normpath(main.parent / name))
        at.write_text("a secret of the tests\n")
    for kind, name in re.findall(r'^(ca|cert|key|credentials|password)_file = "(.+)"$', text, re.M):
        at = pathlib.Path(os.path.normpath(main.parent / name))
        made = {"key": private_key, "credentials": credentials}.get(kind)
        at.write_text(made() if made else (TESTS / "ca.pem").read_text())


def gavel_check(count):
    """gavel itself takes every rendered configuration, laid out as in its pod."""
    gavel = built("gavel")
    for path in cases():
        with tempfile.TemporaryDirectory() as folder:
            main, _ = laid_out(path, pathlib.Path(folder))
            stand_in(main, gavel)
            result = run([gavel, "check", "--config", main])
            count.that(result.returncode == 0, f"gavel check of {path.stem}", result.stdout + result.stderr)


def names(text, word):
    """Whether a whole word stands in a help text."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)


def gavel_arguments(count):
    """Flags and variables of the pods are those of `gavel serve`."""
    help_text = run([built("gavel"), "serve", "--help"]).stdout
    for path in cases():
        for thing in objects(golden(path)):
            if thing["kind"] not in ("Deployment", "StatefulSet", "Rollout"):
                continue
            gavel = thing["spec"]["template"]["spec"]["containers"][0]
            words = [word for word in gavel["args"] if word.startswith("--")]
            words += [one["name"] for one in gavel["env"] if one["name"].startswith("GAVEL_")]
            for word in words:
                count.that(names(help_text, word), f"{path.stem}: gavel serve has {word}")


def nodes(count):
    """The node examples, of which no schema is to be had, allow one sysctl and no other."""
    folder = K8S / "nodes"
    allowed = {}
    config = objects(folder / "al2023-nodeconfig.yaml")[0]["spec"]["kubelet"]
    allowed["AL2023"] = config["config"]["allowedUnsafeSysctls"]
    label = "gavel.example/somaxconn"
    count.that(f"--node-labels={label}=65535" in config["flags"], "AL2023 has the label")
    for thing in objects(folder / "karpenter.yaml"):
        if thing["kind"] == "EC2NodeClass":
            inner = yaml.safe_load(thing["spec"]["userData"])
            allowed["Karpenter"] = inner["spec"]["kubelet"]["config"]["allowedUnsafeSysctls"]
        else:
            labels = thing["spec"]["template"]["metadata"]["labels"]
            count.that(labels == {label: "65535"}, "Karpenter has the label")
    settings = tomllib.loads((folder / "bottlerocket.toml").read_text())["settings"]["kubernetes"]
    allowed["Bottlerocket"] = settings["allowed-unsafe-sysctls"]
    count.that(settings["node-labels"] == {label: "65535"}, "Bottlerocket has the label")
    for name, sysctls in allowed.items():
        count.that(sysctls == ["net.core.somaxconn"], f"{name} allows net.core.somaxconn alone", sysctls)


def replay_arguments(count):
    """The Job's flags are those of `gavel-replay run`."""
    replay = built("gavel-replay")
    help_text = run([replay, "run", "--help"])
    if help_text.returncode != 0:
        raise Missing("this gavel-replay has no `run` yet")
    found = False
    for path in cases():
        for thing in objects(golden(path)):
            if thing["kind"] != "Job":
                continue
            found = True
            for word in thing["spec"]["template"]["spec"]["containers"][0]["args"]:
                if word.startswith("--"):
                    count.that(names(help_text.stdout, word), f"gavel-replay run has {word}")
    count.that(found, "a case has the Job")


def alerts(count):
    """promtool reads the rules and plays their tests."""
    tool = unpacked("promtool", "prometheus")
    checked = run([tool, "check", "rules", CHART / "alerts" / "gavel.yaml"])
    count.that(checked.returncode == 0, "promtool check rules", checked.stdout + checked.stderr)
    tested = run([tool, "test", "rules", TESTS / "alerts.yaml"])
    count.that(tested.returncode == 0, "promtool test rules", tested.stdout + tested.stderr)
    board = json.loads((CHART / "dashboards" / "gavel.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    queries += [one["expr"] for one in board["annotations"]["list"]]
    rules = [{"record": f"query:{n}", "expr": query.replace("$__rate_interval", "1m")}
             for n, query in enumerate(queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=HOME) as file:
        yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}, file)
        file.flush()
        checked = run([tool, "check", "rules", file.name])
        count.that(checked.returncode == 0, "the dashboard's queries are PromQL", checked.stdout + checked.stderr)


def alerts_are_useful(count):
    """Each alert says what it costs and what to do, and has a test."""
    rules = yaml.safe_load((CHART / "alerts" / "gavel.yaml").read_text())
    tested = (TESTS / "alerts.yaml").read_text()
    for rule in [rule for group in rules["groups"] for rule in group["rules"]]:
        notes, name = rule["annotations"], rule["alert"]
        for key in ("summary", "impact", "action"):
            count.that(len(notes.get(key, "")) > 20, f"{name} has `{key}`")
        count.that(rule["labels"]["severity"] in ("page", "ticket"), f"{name} has a severity")
        count.that(f"alertname: {name}\n" in tested and f'alertname="{name}"' in tested, f"{name} has tests")


# Left out, with the reason.
CHECKOV_SKIPS = {
    "CKV_K8S_8": "liveness: gavel has none on purpose",
    "CKV_K8S_43": "digests: production names one (the notes say so), try-outs need not",
    "CKV_K8S_15": "pull policy Always: an image is named by its digest or its version, never by `latest`",
    "CKV_K8S_35": "secrets as files: the replay's key is an argument, and an argument takes a variable",
}


def checkov(count):
    tool = environment("checkov").parent / "checkov"
    skips = [word for skip in CHECKOV_SKIPS for word in ("--skip-check", skip)]
    result = run([tool, "--directory", TESTS / "golden", "--framework", "kubernetes", "--skip-download",
                  "--compact", "--quiet", "--output", "json", *skips])
    try:
        report = json.loads(result.stdout)
    except ValueError:
        count.that(False, "checkov reports", result.stderr or result.stdout)
        return
    summary = report["summary"]
    count.that(summary["passed"] > 200, "checkov looked at the goldens", str(summary))
    for one in report["results"]["failed_checks"]:
        count.that(False, f"checkov {one['check_id']} {one['file_path']} {one['resource']}", one["check_name"])


def policy(count):
    """The admission policies' expressions, over pods that they must take and must refuse."""
    import celpy

    cel = celpy.Environment()

    def asked(expression, pod, variables):
        program = cel.program(cel.compile(expression))
        return program.evaluate({"object": celpy.json_to_cel(pod), "variables": celpy.json_to_cel(variables)})

    policies = [t for t in objects(K8S / "policies" / "sysctls.yaml") if t["kind"] == "ValidatingAdmissionPolicy"]
    for case in yaml.safe_load((TESTS / "policy" / "sysctls.yaml").read_text()):
        for one in policies:
            name, spec, pod = one["metadata"]["name"], one["spec"], case["object"]
            variables = {}
            for variable in spec.get("variables", []):
                value = asked(variable["expression"], pod, variables)
                variables[variable["name"]] = json.loads(json.dumps(value, cls=celpy.CELJSONEncoder))
            refused = [rule["message"] for rule in spec["validations"]
                       if not asked(rule["expression"], pod, variables)]
            wanted = case["refused"][name]
            count.that(bool(refused) == wanted, f"{name}: {case['name']}: refused is {wanted}", "; ".join(refused))


def argo(count):
    """Nothing is deployed by itself."""
    for path in sorted((K8S / "examples").glob("argocd*.yaml")):
        for thing in objects(path):
            sync = thing["spec"].get("syncPolicy", {})
            count.that("automated" not in sync, f"{path.name}: automatic sync is off")


def image(count):
    """The image that takes a prebuilt binary builds, and holds nothing else."""
    tool = binary("buildah", "buildah")
    gavel, replay = built("gavel"), built("gavel-replay")
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        context = pathlib.Path(folder)
        for file in (gavel, replay):
            shutil.copy(file, context / file.name)
        storage = ["--root", context / "storage", "--runroot", context / "run", "--storage-driver", "vfs"]
        made = run([tool, *storage, "bud", "--isolation", "chroot", "--target", "prebuilt", "--tag", "gavel:check",
                    "--file", ROOT / "Dockerfile", context])
        if made.returncode != 0 and re.search("operation not permitted|permission denied", made.stderr, re.I):
            raise Missing(f"buildah may not build here: {made.stderr.strip()[-200:]}")
        count.that(made.returncode == 0, "buildah bud --target prebuilt", made.stderr)
        if made.returncode == 0:
            seen = json.loads(run([tool, *storage, "inspect", "--type", "image", "gavel:check"]).stdout)
            config = seen["OCIv1"]["config"]
            count.that(config["User"] == "65532:65532", "the image is not root's", str(config))
            count.that(config["Entrypoint"] == ["/gavel"], "the image runs gavel")
            count.that(set(config["ExposedPorts"]) == {"8080/tcp", "9090/tcp"}, "the image names its ports")
        run([tool, *storage, "rmi", "--all", "--force"])
