"""Looks for known vulnerabilities in what is installed; says so where the data for it cannot be reached."""

import json
import subprocess
import sys
from typing import Any

UNREACHABLE = "pip-audit: advisory data cannot be reached"
SECONDS = 300
# Identifiers of advisories that do not touch us, each with the reason.
IGNORED: dict[str, str] = {}

# What pip-audit says where it could not ask.
_NO_CONNECTION = ("ConnectionError", "ConnectTimeout", "ServiceError", "Tried connecting", "Failed to connect")


def verdict_of(report: str, complaints: str) -> tuple[int, str]:
    """Return the exit status and what to say of pip-audit's JSON and of what it wrote to stderr."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        unreachable = any(sign in complaints for sign in _NO_CONNECTION)
        return (0, UNREACHABLE) if unreachable else (1, complaints.strip())
    found = [
        f"{each['name']} {each['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'nothing yet'}"
        for each in dependencies
        for one in each.get("vulns", ())
        if not IGNORED.keys() & {one["id"], *one.get("aliases", ())}
    ]
    if found:
        return 1, "\n".join(found)
    audited = [each for each in dependencies if "skip_reason" not in each]
    # An index that has no advisories answers "not found" for every package.
    if not audited:
        return 0, UNREACHABLE
    return 0, f"pip-audit: no known vulnerability in {len(audited)} of {len(dependencies)} packages"


def main() -> int:
    command = (sys.executable, "-m", "pip_audit", "--format", "json", "--skip-editable", "--progress-spinner", "off")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603 - no input
    except subprocess.TimeoutExpired:
        status, text = 0, UNREACHABLE
    else:
        status, text = verdict_of(done.stdout, done.stderr)
    sys.stdout.write(text + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
