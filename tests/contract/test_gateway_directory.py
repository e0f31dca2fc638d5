"""What Directory promises, on the memory adapter and on PostgreSQL, and what it reaches against a plain walk."""

import asyncio
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.database import open_database
from services.common.identity import Identity, system
from services.gateway.adapters.directory import PostgresDirectory
from services.gateway.adapters.memory import MemoryDirectory
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA
from services.gateway.domain.people import (
    MAX_MEMBERS,
    AliasTaken,
    Group,
    GroupNotFound,
    Person,
    TooManyEntries,
    TooManyPrincipals,
    User,
)
from services.gateway.ports import Directory


@pytest.fixture(params=["memory", "postgres"])
async def directory(request):
    if request.param == "memory":
        yield MemoryDirectory()
        return
    async with open_database(request.getfixturevalue("database_url"), MIGRATIONS, SCHEMA) as sessions:
        yield PostgresDirectory(sessions)


@pytest.fixture
def admin() -> Identity:
    """Somebody in a tenant of the test's own, of which nothing is kept."""
    return system(uuid.uuid4().hex, "test")


async def principals(directory: Directory, admin: Identity, *names: str, groups: tuple[str, ...] = ()) -> set[str]:
    return set((await directory.expand(Person(admin.tenant_id, names, groups))).principals) - {"everyone"}


async def test_somebody_unknown_is_themselves_and_everyone(directory, admin):
    found = await directory.expand(Person(admin.tenant_id, ("ada",)))
    assert (found.user_id, found.principals) == ("ada", ("everyone", "user:ada"))


async def test_an_alias_is_the_same_person(directory, admin):
    await directory.put_users(admin, [User("ada", "Ada", ("ada@x.example", "U1"))])
    for name in ("ada", "U1", "ada@x.example"):
        found = await directory.expand(Person(admin.tenant_id, (name,)))
        assert found.user_id == "ada"
        assert set(found.principals) == {"everyone", "user:ada", "user:ada@x.example", "user:U1"}


async def test_a_name_of_somebody_else_brings_nothing_of_theirs(directory, admin):
    await directory.put_users(admin, [User("ada"), User("eve", aliases=("eve@x.example",))])
    await directory.put_groups(admin, [Group("board", members=("user:eve@x.example",))])
    assert await principals(directory, admin, "ada", "eve@x.example", "ada@x.example") == {
        "user:ada",
        "user:ada@x.example",
    }


async def test_the_first_name_that_is_known_says_who_it_is(directory, admin):
    await directory.put_users(admin, [User("ada", aliases=("ada@x.example",))])
    found = await directory.expand(Person(admin.tenant_id, ("sub-1", "ada@x.example")))
    assert found.user_id == "ada"
    assert set(found.principals) == {"everyone", "user:ada", "user:ada@x.example", "user:sub-1"}


async def test_groups_are_followed_through_groups_and_circles(directory, admin):
    await directory.put_users(admin, [User("ada", aliases=("ada@x.example",))])
    await directory.put_groups(
        admin,
        [
            Group("a", members=("user:ada@x.example", "group:c")),
            Group("b", members=("group:a",)),
            Group("c", members=("group:b",)),
            Group("other", members=("user:eve",)),
            Group("above", members=("group:hr",)),
        ],
    )
    assert {"group:a", "group:b", "group:c"} == {
        each for each in await principals(directory, admin, "ada") if each.startswith("group:")
    }
    assert await principals(directory, admin, "bob", groups=("hr",)) == {"user:bob", "group:hr", "group:above"}


async def test_another_tenants_groups_reach_nobody(directory, admin):
    await directory.put_groups(admin, [Group("a", members=("user:ada",))])
    assert await principals(directory, system(uuid.uuid4().hex, "test"), "ada") == {"user:ada"}


async def test_a_put_replaces_all_of_a_user_and_of_a_group(directory, admin):
    await directory.put_users(admin, [User("ada", "Ada", ("a", "b"))])
    await directory.put_users(admin, [User("ada", "Ada L.", ("c", "b"))])
    await directory.put_groups(admin, [Group("g", "G", ("user:a", "user:b"))])
    await directory.put_groups(admin, [Group("g", "H", ("user:c", "user:b"))])
    assert await directory.page_users(admin, "", 9) == [User("ada", "Ada L.", ("b", "c"))]
    assert (await directory.page_groups(admin, "", 9)).groups == [Group("g", "H", ("user:b", "user:c"))]


@pytest.mark.parametrize(
    "taking",
    [User("bob", aliases=("ada@x.example",)), User("bob", aliases=("ada",)), User("ada@x.example")],
)
async def test_a_name_is_one_users_and_a_refused_put_changes_nothing(directory, admin, taking):
    ada = User("ada", "Ada", ("ada@x.example",))
    await directory.put_users(admin, [ada])
    with pytest.raises(AliasTaken):
        await directory.put_users(admin, [User("carl"), taking])
    assert await directory.page_users(admin, "", 9) == [ada]


async def test_users_may_exchange_their_aliases_in_one_put(directory, admin):
    await directory.put_users(admin, [User("ada", aliases=("1",)), User("bob", aliases=("2",))])
    await directory.put_users(admin, [User("ada", aliases=("2",)), User("bob", aliases=("1",))])
    assert [user.aliases for user in await directory.page_users(admin, "", 9)] == [("2",), ("1",)]


async def test_of_two_that_take_a_name_at_once_one_gets_it(directory, admin):
    puts = [directory.put_users(admin, [User(name, aliases=("shared",))]) for name in ("ada", "bob", "carl")]
    ended = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(each) for each in ended if each is not None] == [AliasTaken, AliasTaken]
    assert len(await directory.page_users(admin, "", 9)) == 1


async def test_a_removed_user_is_in_no_group_under_any_name(directory, admin):
    await directory.put_users(admin, [User("ada", aliases=("ada@x.example",))])
    await directory.put_groups(admin, [Group("a", members=("user:ada",)), Group("b", members=("user:ada@x.example",))])
    assert await directory.remove_users(admin, ["ada", "nobody"]) == 1
    assert await directory.remove_users(admin, ["ada"]) == 0
    assert await principals(directory, admin, "ada", "ada@x.example") == {"user:ada", "user:ada@x.example"}
    # Whoever gets the name next does not get the memberships with it.
    await directory.put_users(admin, [User("eve", aliases=("ada@x.example",))])
    assert await principals(directory, admin, "eve") == {"user:eve", "user:ada@x.example"}


async def test_a_removed_group_is_a_member_of_nothing(directory, admin):
    await directory.put_groups(admin, [Group("a", members=("user:ada",)), Group("b", members=("group:a",))])
    assert await directory.remove_groups(admin, ["a", "nothing"]) == 1
    await directory.put_groups(admin, [Group("a", members=("user:eve",))])
    assert await principals(directory, admin, "eve") == {"user:eve", "group:a"}


async def test_members_come_and_go_and_a_repeat_changes_nothing(directory, admin):
    await directory.put_groups(admin, [Group("a", members=("user:ada",))])
    for _ in range(2):
        await directory.change_members(admin, "a", ["user:bob", "user:carl"], ["user:ada", "user:carl"])
    assert (await directory.page_groups(admin, "", 9)).groups == [Group("a", "", ("user:bob",))]


async def test_a_group_that_is_not_there_has_no_members_to_change(directory, admin):
    with pytest.raises(GroupNotFound):
        await directory.change_members(admin, "a", ["user:bob"], [])
    await directory.put_groups(system(uuid.uuid4().hex, "test"), [Group("a")])
    with pytest.raises(GroupNotFound):
        await directory.change_members(admin, "a", ["user:bob"], [])


async def test_a_group_does_not_grow_past_its_limit_by_changes(directory, admin):
    await directory.put_groups(admin, [Group("a", members=tuple(f"user:{n}" for n in range(MAX_MEMBERS)))])
    with pytest.raises(TooManyEntries):
        await directory.change_members(admin, "a", ["user:one more"], [])
    await directory.change_members(admin, "a", ["user:one more"], ["user:1"])


async def test_users_and_groups_page_in_the_order_of_their_bytes(directory, admin):
    await directory.put_users(admin, [User(name) for name in "bZa_"])
    await directory.put_groups(admin, [Group(name) for name in "bZa_"])
    users = await directory.page_users(admin, "", 2)
    rest = await directory.page_users(admin, users[-1].user_id, 9)
    assert [user.user_id for user in (*users, *rest)] == ["Z", "_", "a", "b"]
    groups, rest = await directory.page_groups(admin, "", 2), await directory.page_groups(admin, "_", 9)
    assert [group.group_id for group in (*groups.groups, *rest.groups)] == ["Z", "_", "a", "b"]
    assert (groups.more, rest.more) == (True, False)


async def test_a_page_of_groups_ends_where_their_members_are_too_many(directory, admin):
    members = tuple(f"user:{number}" for number in range(9000))
    for name in "abc":
        await directory.put_groups(admin, [Group(name, members=members)])
    page = await directory.page_groups(admin, "", 9)
    assert ([group.group_id for group in page.groups], page.more) == (["a", "b"], True)
    assert len(page.groups[0].members) == len(members)


async def test_who_is_in_too_many_groups_is_refused_and_not_cut_off(directory, admin):
    for start in range(0, 5000, 500):
        await directory.put_groups(admin, [Group(f"g{start + n}", members=("user:ada",)) for n in range(500)])
    with pytest.raises(TooManyPrincipals):
        await directory.expand(Person(admin.tenant_id, ("ada",)))
    await directory.remove_groups(admin, ["g0", "g1"])
    assert len((await directory.expand(Person(admin.tenant_id, ("ada",)))).principals) == 5000


async def test_principals_that_are_too_long_together_are_refused(directory, admin):
    groups = [Group(f"{n}".rjust(200, "ü"), members=("user:ada",)) for n in range(1500)]
    for start in range(0, 1500, 500):
        await directory.put_groups(admin, groups[start : start + 500])
    with pytest.raises(TooManyPrincipals):
        await directory.expand(Person(admin.tenant_id, ("ada",)))


NAMES = [f"u{number}" for number in range(4)]
GROUPS = [f"g{number}" for number in range(6)]
MEMBER = st.one_of(st.sampled_from(NAMES).map("user:{}".format), st.sampled_from(GROUPS).map("group:{}".format))
GRAPH = st.dictionaries(st.sampled_from(GROUPS), st.lists(MEMBER, max_size=4, unique=True))
STEP = st.one_of(
    st.tuples(st.just("put"), GRAPH),
    st.tuples(st.just("remove"), st.lists(st.sampled_from(GROUPS), max_size=2)),
    st.tuples(st.just("leave"), st.lists(st.sampled_from(NAMES), max_size=2)),
)


def walked(graph: dict[str, set[str]], name: str) -> set[str]:
    """Return what a user reaches, found by trying every group until none is new."""
    reached = {f"user:{name}"}
    for _ in graph:
        reached |= {f"group:{group}" for group, members in graph.items() if members & reached}
    return reached


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=1, max_size=5))
async def test_what_is_reached_through_any_groups_is_what_a_plain_walk_reaches(directory, steps):
    admin, graph = system(uuid.uuid4().hex, "test"), {}
    for kind, what in steps:
        if kind == "put":
            await directory.put_groups(admin, [Group(group, members=tuple(what[group])) for group in what])
            graph |= {group: set(members) for group, members in what.items()}
        elif kind == "remove":
            await directory.remove_groups(admin, what)
            graph = {group: m - {f"group:{each}" for each in what} for group, m in graph.items() if group not in what}
        else:
            await directory.remove_users(admin, what)
            graph = {group: members - {f"user:{each}" for each in what} for group, members in graph.items()}
    for name in NAMES:
        assert await principals(directory, admin, name) == walked(graph, name)
