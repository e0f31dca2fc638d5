"""The gRPC face of the directory; what is changed counts at once in this replica, and within the cache elsewhere."""

from collections.abc import Sequence
from typing import Any

from tandem.gateway.v1 import directory_service_pb2 as pb
from tandem.gateway.v1 import directory_service_pb2_grpc as rpc

from services.common.identity import Identity, caller
from services.common.pages import key_of, page_size_of, token_of
from services.gateway.domain.people import (
    MAX_ENTRIES,
    Group,
    Person,
    User,
    check_count,
    checked_groups,
    checked_members,
    checked_users,
    group_id_of,
    is_id,
    user_id_of,
)
from services.gateway.ports import Directory
from services.gateway.servicer.authentication import RecentPeople


class DirectoryServicer(rpc.DirectoryServiceServicer):
    def __init__(self, directory: Directory, recent: RecentPeople) -> None:
        self._directory = directory
        self._recent = recent

    async def PutUsers(self, request: pb.PutUsersRequest, context: Any) -> pb.PutUsersResponse:
        users = checked_users([User(each.user_id, each.display_name, tuple(each.aliases)) for each in request.users])
        await self._directory.put_users(caller(), users)
        self._forget(caller())
        return pb.PutUsersResponse()

    async def ListUsers(self, request: pb.ListUsersRequest, context: Any) -> pb.ListUsersResponse:
        size, after = page_size_of(request.page_size), key_of(request.page_token)
        found = await self._directory.page_users(caller(), after, size + 1)
        token = token_of(found[size - 1].user_id) if len(found) > size else ""
        return pb.ListUsersResponse(users=map(_user, found[:size]), next_page_token=token)

    async def RemoveUsers(self, request: pb.RemoveUsersRequest, context: Any) -> pb.RemoveUsersResponse:
        removed = await self._directory.remove_users(caller(), _known_ids(request.user_ids))
        self._forget(caller())
        return pb.RemoveUsersResponse(removed=removed)

    async def PutGroups(self, request: pb.PutGroupsRequest, context: Any) -> pb.PutGroupsResponse:
        groups = [Group(each.group_id, each.display_name, tuple(each.members)) for each in request.groups]
        await self._directory.put_groups(caller(), checked_groups(groups))
        self._forget(caller())
        return pb.PutGroupsResponse()

    async def ListGroups(self, request: pb.ListGroupsRequest, context: Any) -> pb.ListGroupsResponse:
        size, after = page_size_of(request.page_size), key_of(request.page_token)
        page = await self._directory.page_groups(caller(), after, size)
        token = token_of(page.groups[-1].group_id) if page.more else ""
        return pb.ListGroupsResponse(groups=map(_group, page.groups), next_page_token=token)

    async def RemoveGroups(self, request: pb.RemoveGroupsRequest, context: Any) -> pb.RemoveGroupsResponse:
        removed = await self._directory.remove_groups(caller(), _known_ids(request.group_ids))
        self._forget(caller())
        return pb.RemoveGroupsResponse(removed=removed)

    async def ChangeMembers(self, request: pb.ChangeMembersRequest, context: Any) -> pb.ChangeMembersResponse:
        group_id = group_id_of(request.group_id)
        add, remove = checked_members(request.add), checked_members(request.remove)
        await self._directory.change_members(caller(), group_id, add, remove)
        self._forget(caller())
        return pb.ChangeMembersResponse()

    async def ExpandUser(self, request: pb.ExpandUserRequest, context: Any) -> pb.ExpandUserResponse:
        person = Person(caller().tenant_id, (user_id_of(request.user_id),))
        return pb.ExpandUserResponse(principals=(await self._directory.expand(person)).principals)

    def _forget(self, identity: Identity) -> None:
        self._recent.forget_where(lambda person: person.tenant_id == identity.tenant_id)


def _known_ids(ids: Sequence[str]) -> Sequence[str]:
    """Return the ids that somebody may have; the others are unknown like any that nobody has."""
    check_count(len(ids), MAX_ENTRIES)
    return list(filter(is_id, ids))


def _user(user: User) -> pb.User:
    return pb.User(user_id=user.user_id, display_name=user.display_name, aliases=user.aliases)


def _group(group: Group) -> pb.Group:
    return pb.Group(group_id=group.group_id, display_name=group.display_name, members=group.members)
