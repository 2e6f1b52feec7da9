"""What travels beside the package: the action of GitHub, the image, how to cite it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

import taut
from taut.version import __version__

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
NETWORK = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Linear(256, 64)

def score(net):
    torch.manual_seed(1)
    x = torch.randn(500, 256)
    return float((net(x).argmax(1) == model()(x).argmax(1)).float().mean())
"""


def run(folder: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """The action's last step: its exit code, its outputs, and its summary."""
    given = {f"TAUT_{name.upper()}": value for name, value in inputs.items()}
    files = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "action" / "run.py"],
        cwd=folder,
        env=os.environ | given | {name: str(path) for name, path in files.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    texts = [path.read_text() if path.exists() else "" for path in files.values()]
    outputs = dict(line.split("=", 1) for line in texts[0].splitlines())
    return done.returncode, outputs, texts[1]


def test_every_input_reaches_the_script_and_every_output_comes_from_it():
    steps = ACTION["runs"]["steps"]
    asked = {name for step in steps for name in re.findall(r"inputs\.([\w-]+)", json.dumps(step))}
    assert asked == set(ACTION["inputs"])
    script = (ROOT / "tools" / "action" / "run.py").read_text(encoding="utf-8")
    assert set(steps[-1]["env"]) == set(re.findall(r"TAUT_[A-Z_]+", script))
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.{steps[-1]['id']}.outputs.{name} }}}}"
    assert all(
        "@" not in step.get("uses", "") or re.search("@[0-9a-f]{40}$", step["uses"])
        for step in steps
    )


def test_the_action_compresses_verifies_and_tells(tmp_path):
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    save_file({"w": weights}, tmp_path / "net.safetensors")
    code, outputs, summary = run(
        tmp_path, model="net.safetensors", output="net.taut.safetensors", options="--size 8x"
    )
    assert code == 0
    assert int(outputs["bytes"]) == (tmp_path / outputs["file"]).stat().st_size
    assert float(outputs["ratio"]) >= 8
    assert outputs["bytes"] in summary
    assert taut.load(tmp_path / outputs["file"])["w"].shape == (64, 64)


def test_the_action_says_what_the_command_says(tmp_path):
    code, outputs, _ = run(tmp_path, model="missing.safetensors", output="x.taut.safetensors")
    assert code == 2 and outputs == {}


@pytest.mark.slow("three processes that load PyTorch")
def test_the_action_fails_when_the_score_falls(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(NETWORK)
    inputs = {"model": "net.py:model", "output": "net.taut.safetensors", "score": "net.py:score"}
    code, outputs, summary = run(tmp_path, **inputs, options="--bits 3", max_drop="0.1%")
    assert code == 3 and float(outputs["score"]) < 0.999 and "fell" in summary


def test_the_image_copies_what_the_package_is_built_from():
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = ("pyproject.toml", "CMakeLists.txt", "csrc", "src", "README.md", "constraints.txt")
    assert [name for name in needed if name in ignored or not (ROOT / name).exists()] == []
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    words = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert set(words) <= {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT"}
    assert words.count("FROM") == 2 and words[-1] == "ENTRYPOINT"


@pytest.mark.slow("copies an interpreter and asks for the libraries of each of its modules")
@pytest.mark.skipif(sys.platform != "linux", reason="images are of Linux")
def test_the_image_is_an_interpreter_with_what_it_loads_and_no_more(tmp_path):
    """Run where a process may have a root of its own; the sizes of the image are in the docs."""
    package = tmp_path / "installed" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    for name in ("small", "small/tests"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("import ssl, sqlite3, ctypes\n")
    root, script = tmp_path / "root", ROOT / "tools" / "image" / "assemble.py"
    subprocess.run([sys.executable, script, tmp_path / "installed", root], check=True)
    found = {path.relative_to(root).as_posix() for path in root.rglob("*")}
    left_out = re.compile(r"/(idlelib|ensurepip|__pycache__|tests|pip)(/|$)")
    assert [one for one in found if left_out.search(one)] == []
    assert any(re.search(r"libc\.so\.6$", one) for one in found)
    assert any(one.endswith("small/__init__.py") for one in found)
    assert not any(Path(one).name in ("sh", "bash", "apt", "pip") for one in found)
    if os.geteuid() == 0:
        program = Path(sys.executable).resolve()
        words = ["chroot", root, program, "-c", "import small; print(small.ssl.OPENSSL_VERSION)"]
        assert "SSL" in subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_publishing_looks_for_the_version_where_it_stands():
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
    (path,) = re.findall(r"__version__ = .* (src/\S+)", workflow)
    assert f'__version__ = "{__version__}"' in (ROOT / path).read_text().splitlines()


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    assert cited["license"] == "Apache-2.0"
