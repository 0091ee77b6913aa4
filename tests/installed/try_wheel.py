"""Build the wheel, install it into an empty environment outside of the checkout, and use it there.

Run by ``make wheel``; says what was tried, or which part failed.
"""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
NEEDED = ("errata/py.typed", "reference/py.typed", "errata/findings.schema.json", "errata/defects/attention.toml")

THEIRS = """
import torch
from torch import nn


class MyMHA(nn.Module):
    def __init__(self, d_model, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, query, key, value, mask=None):
        q, k, v = (
            w(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for w, x in ((self.w_q, query), (self.w_k, key), (self.w_v, value))
        )
        scores = q @ k.transpose(-1, -2) / query.shape[-1] ** 0.5  # the width of the model, not that of a head
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return self.w_o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
"""

API = """
import errata, reference
from pathlib import Path
from errata import checks
from errata.checks.ready import pytorch
from reference.multi_head_attention import MultiHeadAttention

for package in (errata, reference):
    assert "site-packages" in package.__file__, package.__file__
names = {name: name for name in ("query", "key", "value", "output")}
right = checks.MultiHeadAttention(build=MultiHeadAttention, call=lambda m, *inputs: m(*inputs), weights=names)
report = checks.run(right)
report.raise_if_failed()
checks.run(pytorch.LAYER_NORM, levels={"paper"}).raise_if_failed()
assert not checks.run(checks.find("theirs:MyMHA"), levels={"paper"}, effort="quick").ok
print(report.first_line)
"""


def main() -> None:
    """Build, look inside, install and use."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = built(Path(folder))
        look_inside(wheel)
        environment = Path(folder) / "environment"
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "-c", CHECKOUT / "constraints.txt", wheel, cwd=Path(folder))
        use(environment / "bin")
    print(f"{wheel.name}: built, installed into an empty environment, used there")


def built(folder: Path) -> Path:
    """The wheel, made from the checkout."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, CHECKOUT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def look_inside(wheel: Path) -> None:
    """It holds the two packages with types and data, and neither tests nor documents."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in NEEDED if name not in names]
    foreign = [
        name for name in names if name.split("/")[0].split("-")[0] not in ("errata", "reference", "transformer_errata")
    ]
    foreign += [
        name
        for name in names
        if "test" in Path(name).name.split("_")[0] or "snippets" in name or name.endswith(".ipynb")
    ]
    if missing or foreign:
        sys.exit(
            f"{wheel.name}: lacks {missing}, and should not hold {foreign}: see [tool.hatch.build] in pyproject.toml"
        )


def use(programs: Path) -> None:
    """The API and the command, in an empty folder; nothing else is left there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "theirs.py").write_text(THEIRS)
        run(programs / "python", "-W", "error", "-c", API, cwd=folder)
        run(
            programs / "errata", "check", "theirs:MyMHA", "--level", "paper", "--json", "out.json", cwd=folder, status=1
        )
        run(programs / "errata", "replay", "out.json", cwd=folder, status=1)
        run(programs / "errata", "list", "checks", cwd=folder)
        left = sorted(path.name for path in folder.iterdir())
        if left != ["out.json", "theirs.py"]:
            sys.exit(f"in the user's folder were left: {', '.join(left)}")


def run(*command: object, cwd: Path, status: int = 0) -> None:
    """Run a command that must end with this status; what it prints is shown where it does not."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != status:
        shown = " ".join(map(str, command))[:200]
        sys.exit(f"{shown}: ended with {done.returncode}, not {status}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
