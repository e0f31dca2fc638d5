"""whoami, user, group: who asks, and what they may read as."""

from typing import Annotated

import typer
from tandem.gateway.v1 import directory_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2 as gateway_pb

from services.cli.output import plain
from services.cli.session import Session
from services.cli.verbs.access import show
from services.cli.views import tables as views

UserId = Annotated[str, typer.Argument(help="The user's id.")]
GroupId = Annotated[str, typer.Argument(help="The group's id.")]
DisplayName = Annotated[str, typer.Option("--name", help="For people.")]


def whoami(session: Session) -> None:
    """Show whom calls act for, and all that they may read as."""
    who = plain(session.gateway.call(session.gateway.access.GetCaller, gateway_pb.GetCallerRequest()))
    session.output.show(who, lambda: views.table([who], ("tenant_id", "subject", "actor", "roles", "principals")))


def put_user(
    session: Session,
    user_id: UserId,
    name: DisplayName = "",
    alias: Annotated[list[str] | None, typer.Option(help="The same person elsewhere; may be given again.")] = None,
) -> None:
    """Keep a user, or replace the one of that id."""
    user = pb.User(user_id=user_id, display_name=name, aliases=alias or ())
    session.gateway.call(session.gateway.people.PutUsers, pb.PutUsersRequest(users=[user]))
    session.output.show({"user": plain(user)}, lambda: f"user {user_id} is kept")


def list_users(session: Session) -> None:
    """List the users of the directory."""
    pages = session.gateway.pages(session.gateway.people.ListUsers, pb.ListUsersRequest())
    found = [user for page in pages for user in page.users]
    show(session, "users", found, ("user_id", "display_name", "aliases"))


def remove_user(session: Session, user_id: UserId) -> None:
    """Take a user out of the directory, and out of every group."""
    request = pb.RemoveUsersRequest(user_ids=[user_id])
    removed = session.gateway.call(session.gateway.people.RemoveUsers, request).removed
    session.output.show({"removed": removed}, lambda: f"removed: {views.counted(removed, 'user')}")


def show_principals(session: Session, user_id: UserId) -> None:
    """Show all that a user may read as."""
    request = pb.ExpandUserRequest(user_id=user_id)
    found = list(session.gateway.call(session.gateway.people.ExpandUser, request).principals)
    session.output.show({"principals": found}, lambda: "\n".join(found))


def put_group(
    session: Session,
    group_id: GroupId,
    name: DisplayName = "",
    member: Annotated[list[str] | None, typer.Option(help='"user:ID" or "group:ID"; may be given again.')] = None,
) -> None:
    """Keep a group with all its members, or replace the one of that id."""
    group = pb.Group(group_id=group_id, display_name=name, members=member or ())
    session.gateway.call(session.gateway.people.PutGroups, pb.PutGroupsRequest(groups=[group]))
    session.output.show({"group": plain(group)}, lambda: f"group {group_id} is kept")


def list_groups(session: Session) -> None:
    """List the groups of the directory."""
    pages = session.gateway.pages(session.gateway.people.ListGroups, pb.ListGroupsRequest())
    found = [group for page in pages for group in page.groups]
    show(session, "groups", found, ("group_id", "display_name", "members"))


def remove_group(session: Session, group_id: GroupId) -> None:
    """Remove a group, also as a member of others."""
    request = pb.RemoveGroupsRequest(group_ids=[group_id])
    removed = session.gateway.call(session.gateway.people.RemoveGroups, request).removed
    session.output.show({"removed": removed}, lambda: f"removed: {views.counted(removed, 'group')}")


def change_group(
    session: Session,
    group_id: GroupId,
    add: Annotated[list[str] | None, typer.Option(help='"user:ID" or "group:ID"; may be given again.')] = None,
    remove: Annotated[list[str] | None, typer.Option(help='"user:ID" or "group:ID"; may be given again.')] = None,
) -> None:
    """Add members to a group, and take others out."""
    request = pb.ChangeMembersRequest(group_id=group_id, add=add or (), remove=remove or ())
    session.gateway.call(session.gateway.people.ChangeMembers, request)
    session.output.show({"changed": group_id}, lambda: f"group {group_id} is changed")
