"""X-ASRS-Signature, as the original's own tests have it."""

from typing import Any

import pytest
from tests.vectors.reading import cases, read

from hubbub.protocol.upstreamsignature import is_signed, sign_connection

VECTORS = read("signatures")
CONNECTION: str = VECTORS["connection_id"]


@pytest.mark.parametrize("vector", cases(VECTORS["signatures"]))
def test_a_connection_is_signed_as_the_original_signs_it(vector: dict[str, Any]) -> None:
    assert sign_connection(CONNECTION, vector["keys"]) == vector["header"]


@pytest.mark.parametrize("vector", cases(VECTORS["signatures"]))
def test_a_signature_of_the_original_is_accepted_in_either_case(vector: dict[str, Any]) -> None:
    for header in (vector["header"], vector["header"].upper()):
        assert is_signed(header, CONNECTION, vector["keys"][-1:])
        assert not is_signed(header, CONNECTION + "x", vector["keys"])
        assert not is_signed(header, CONNECTION, ["another key"])
