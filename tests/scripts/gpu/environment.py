"""The machine and its packages; what is missing is installed from a folder of wheels. Standard library
only."""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from tests.scripts.gpu.results import Environment

ROOT = Path(__file__).parents[3]
MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "python-dateutil": "dateutil"}
"""Modules that are called otherwise than their packages."""

LEFT_OUT = {"jpeglib"}  # only JPEG sources need it, and its wheel has 22 MB


def is_installed(package: str) -> bool:
    """Can the module of a package be imported, whichever package brought it?"""
    module = MODULES.get(package, package.replace("-", "_"))
    return importlib.util.find_spec(module) is not None


def normalised(name: str) -> str:
    """A package's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> list[str]:
    """The packages that both programs need for what is done here, as pyproject.toml names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    names = [normalised(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in lines]
    return [name for name in names if name not in LEFT_OUT]


def wheels_to_install(folder: Path) -> list[Path]:
    """The wheels of packages that are not there: what a machine has is not replaced."""
    wheels = sorted(folder.glob("*.whl"))
    return [wheel for wheel in wheels if not is_installed(normalised(wheel.name.partition("-")[0]))]


def install(wheels: list[Path], site: Path) -> None:
    """Install these wheels, and nothing beside them, into the folder ``site``."""
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *map(str, wheels)], check=True)
    importlib.invalidate_caches()


def environment(device: str, installed: list[Path]) -> Environment:
    """What there is, with these wheels ``installed``."""
    needed = requirements()
    there = [package for package in needed if is_installed(package)]
    gpu = gpu_memory = torch_version = cuda = cudnn = None
    if is_installed("torch"):
        import torch

        torch_version, cuda = str(torch.__version__), torch.version.cuda
        if device.startswith("cuda"):
            properties = torch.cuda.get_device_properties(device)
            gpu, gpu_memory = properties.name, properties.total_memory / 1e9
            cudnn = torch.backends.cudnn.version()
    return Environment(
        gpu=gpu,
        gpu_memory_gb=gpu_memory,
        driver=printed_by("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        torch=torch_version,
        cuda=cuda,
        cudnn=cudnn,
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        free_disk_gb=shutil.disk_usage(ROOT).free / 1e9,
        python=platform.python_version(),
        packages=tuple(f"{package} {_version(package)}" for package in there),
        missing=tuple(package for package in needed if package not in there),
        installed=tuple(wheel.name for wheel in installed),
        commit=printed_by("git", "rev-parse", "HEAD"),
        sources=_digest_of_sources(),
    )


def printed_by(*command: str) -> str | None:
    """What a program prints, or None if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.strip()


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", file.read_text("utf-8"), re.M) if file.exists() else None
    return found[1] if found else platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "by another name"


def _digest_of_sources() -> str:
    """SHA-256 over names and contents of the Python files that ran: the checkout may have no history."""
    digest = hashlib.sha256()
    for folder in ("poisongen", "trainer", "tests/scripts", "tests/support"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()
