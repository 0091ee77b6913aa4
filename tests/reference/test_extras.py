import json

import pytest

from reference.extras import require


def test_what_is_installed_is_imported() -> None:
    assert require("json", extra="train") is json


def test_what_is_missing_is_named_with_its_remedy() -> None:
    with pytest.raises(ImportError, match=r"no_such is needed here .* pip install 'transformer-errata\[deploy\]'"):
        require("no_such.module", extra="deploy")
