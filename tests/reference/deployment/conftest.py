"""One model, exported once in every form: tracing takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reference import Transformer

# In a process of its own, since the shape checks of this one cannot be traced. torch.onnx warns of torch itself.
SCRIPT = """
import sys, warnings
from pathlib import Path
import torch
from reference import Transformer
from reference.deployment import export_decoder, export_encoder, export_model, save_onnx

directory = Path(sys.argv[1])
torch.manual_seed(0)
model = Transformer(11, 13, width=12, heads=3, inner_width=7, layers=1)
with torch.no_grad():
    model.output.bias[2] += 0.5  # so that some answers end early
torch.save(model.state_dict(), directory / "weights.pt")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for export in (export_model, export_encoder, export_decoder):
        torch.export.save(export(model, max_length=600), directory / f"{export.__name__}.pt2")
assert not model.training
save_onnx(model, directory / "onnx" / "new", max_length=600)
"""


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the weights, the `.pt2` files, and the ONNX files in `onnx/new`."""
    directory = tmp_path_factory.mktemp("exported")
    run = subprocess.run([sys.executable, "-c", SCRIPT, str(directory)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return directory


@pytest.fixture(scope="session")
def model(exported: Path) -> Transformer:
    """The model itself, in this process."""
    model = Transformer(11, 13, width=12, heads=3, inner_width=7, layers=1).eval()
    model.load_state_dict(torch.load(exported / "weights.pt"))
    return model
