"""Prints docs/rpcs.md: every RPC of the protos in a folder, with the role that its callers must have."""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodOptions
from grpc_tools import protoc
from tandem.common.v1 import access_pb2

from services.gateway.servicer.forwarder import forwarded_paths

HEAD = """# RPCs

Made from the protos by `make protos`; do not edit. An admin may call everything; every other role calls what names it
and nothing else. What `reads` changes nothing; every other RPC of contributors, trainers and admins is an act that the
audit log keeps. What the gateway does not take is called by services alone, under an identity that the gateway signed.
"""
GATEWAY = "tandem.gateway."
SERVICE_FIELD, METHOD_FIELD = 6, 2  # their numbers in descriptor.proto, of which source locations are made


class RoleMissing(LookupError):
    """RPCs name no role that their callers must have."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC, as its proto tells of it."""

    service: str
    name: str
    role: str
    reads: bool
    summary: str

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"

    @property
    def reachable(self) -> bool:
        """Whether the gateway takes it."""
        return self.service.startswith(GATEWAY) or self.path in forwarded_paths()


def rpcs_of(folder: Path) -> list[Rpc]:
    """Return every RPC of every proto below `folder`, by service, in the order of the protos.

    Raises:
        RoleMissing: some name no role.
    """
    found = [rpc for file in _described(folder).file for rpc in _rpcs_in(file)]
    if without := [rpc.path for rpc in found if not rpc.role]:
        raise RoleMissing(f"no `option (tandem.common.v1.role)` in {', '.join(sorted(without))}")
    return sorted(found, key=lambda rpc: rpc.service)


def table_of(rpcs: list[Rpc]) -> str:
    """Return the page."""
    lines, service = [HEAD], ""
    for rpc in rpcs:
        if rpc.service != service:
            service = rpc.service
            lines += [f"## {service}\n", "| RPC | role | | gateway | |", "|---|---|---|---|---|"]
        kind, reachable = "reads" if rpc.reads else "acts", "yes" if rpc.reachable else "no"
        lines.append(f"| {rpc.name} | {rpc.role} | {kind} | {reachable} | {rpc.summary} |")
        if rpc is rpcs[-1] or rpcs[rpcs.index(rpc) + 1].service != service:
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _described(folder: Path) -> FileDescriptorSet:
    with tempfile.TemporaryDirectory() as made:
        target = Path(made) / "descriptors"
        files = sorted(map(str, folder.rglob("*.proto")))
        # The roles' own proto comes along, where a folder does not have it.
        roots = ["-I", str(folder), "-I", str(Path(__file__).parent.parent / "protos")]
        arguments = ["protoc", *roots, f"-I{Path(protoc.__file__).parent / '_proto'}", "--include_source_info"]
        if protoc.main([*arguments, f"--descriptor_set_out={target}", *files]):
            raise SystemExit(1)
        return FileDescriptorSet.FromString(target.read_bytes())


def _rpcs_in(file: FileDescriptorProto) -> Iterator[Rpc]:
    comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
    for number, service in enumerate(file.service):
        for position, method in enumerate(service.method):
            comment = comments.get((SERVICE_FIELD, number, METHOD_FIELD, position), "")
            yield Rpc(
                f"{file.package}.{service.name}",
                method.name,
                _role_of(method.options),
                method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
                _summary_of(method.name, comment),
            )


def _role_of(options: MethodOptions) -> str:
    number = options.Extensions[access_pb2.role]
    return access_pb2.Role.Name(number).removeprefix("ROLE_").lower() if number else ""


def _summary_of(name: str, comment: str) -> str:
    """Return a comment's first sentence without the RPC's name before it."""
    sentence, _, _ = " ".join(comment.split()).partition(". ")
    summary = sentence.removeprefix(name).strip().rstrip(".:")
    return (summary[:1].upper() + summary[1:]).replace("|", r"\|")


if __name__ == "__main__":
    try:
        sys.stdout.write(table_of(rpcs_of(Path(sys.argv[1]))))
    except RoleMissing as error:
        sys.exit(str(error))
