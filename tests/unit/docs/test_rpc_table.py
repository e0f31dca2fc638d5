"""The table of RPCs is made from the protos, and is not made of protos that do not say who may call."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.rpc_table import RoleMissing, rpcs_of, table_of

ROOT = Path(__file__).parents[3]
PROTO = """syntax = "proto3";
package shop.v1;
import "tandem/common/v1/access.proto";
message Nothing {{}}
// ShopService sells.
service ShopService {{
  // Buy buys. It costs.
  rpc Buy(Nothing) returns (Nothing) {{
    option (tandem.common.v1.role) = ROLE_RATER;
  }}
  // Look returns what
  // there is.
  rpc Look(Nothing) returns (stream Nothing) {{
    option idempotency_level = NO_SIDE_EFFECTS;
    {role}
  }}
}}
"""


def shop(folder: Path, role: str = "option (tandem.common.v1.role) = ROLE_READER;") -> Path:
    (folder / "shop.proto").write_text(PROTO.format(role=role))
    return folder


def test_every_rpc_is_told_with_its_role_and_the_first_sentence_of_its_comment(tmp_path: Path):
    table = table_of(rpcs_of(shop(tmp_path)))
    assert "## shop.v1.ShopService" in table
    assert "| Buy | rater | acts | no | Buys |" in table
    assert "| Look | reader | reads | no | Returns what there is |" in table


@pytest.mark.parametrize("role", ["", "option (tandem.common.v1.role) = ROLE_UNSPECIFIED;"])
def test_an_rpc_without_a_role_is_refused_by_name(tmp_path: Path, role: str):
    with pytest.raises(RoleMissing, match=r"/shop\.v1\.ShopService/Look"):
        rpcs_of(shop(tmp_path, role))


def test_an_rpc_without_a_role_ends_the_command_that_the_build_runs(tmp_path: Path):
    command = (sys.executable, str(ROOT / "docs/rpc_table.py"), str(shop(tmp_path, "")))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/shop.v1.ShopService/Look" in done.stderr
    assert not done.stdout


def test_the_table_in_the_docs_is_that_of_the_protos():
    assert (ROOT / "docs/rpcs.md").read_text() == table_of(rpcs_of(ROOT / "protos"))


def test_what_the_gateway_passes_on_is_told():
    reachable = {rpc.path: rpc.reachable for rpc in rpcs_of(ROOT / "protos")}
    assert reachable["/tandem.gateway.v1.GatewayService/Ask"]
    assert reachable["/tandem.ingest.v1.IngestService/ListSources"]
    assert not reachable["/tandem.erasure.v1.ErasureService/Erase"]
    assert not reachable["/tandem.feedback.v1.FeedbackService/Rate"]
