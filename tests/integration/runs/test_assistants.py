"""Assistants: versions, mirroring of config and context, searches, and every refusal."""

import asyncio

import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import assistants_pb2 as pb

UNKNOWN = "01d1f6ea-0000-4000-8000-000000000000"


@pytest.fixture
async def assistants(system):
    await system.executor("echo", "chat").attach()
    return system.assistants


def create(assistants, graph_id="echo", **fields):
    return assistants.CreateAssistant(pb.CreateAssistantRequest(graph_id=graph_id, **fields))


def update(assistants, made, **fields):
    return assistants.UpdateAssistant(pb.UpdateAssistantRequest(assistant_id=made.assistant_id, **fields))


def get(assistants, assistant_id, **fields):
    return assistants.GetAssistant(pb.GetAssistantRequest(assistant_id=assistant_id, **fields))


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return reason_of(error.value)


async def test_create_and_read(assistants):
    made = await create(assistants, name="Ada", description="first", metadata_json=b'{"k":1}')
    assert await get(assistants, made.assistant_id) == made
    assert await get(assistants, made.assistant_id.upper()) == made
    assert (made.version, made.name, made.description, made.graph_id) == (1, "Ada", "first", "echo")
    assert orjson.loads(made.metadata_json) == {"k": 1}
    plain = await create(assistants)
    assert plain.name == "Untitled"
    assert not plain.HasField("description")
    assert (plain.config_json, plain.context_json) == (b"{}", b"{}")


async def test_config_and_context_mirror_each_other(assistants):
    made = await create(assistants, config_json=b'{"tags":["t"],"configurable":{"a":1}}')
    assert orjson.loads(made.context_json) == {"a": 1}
    changed = await update(assistants, made, context_json=b'{"b":2}')
    assert orjson.loads(changed.config_json)["configurable"] == {"b": 2}
    assert orjson.loads(changed.context_json) == {"b": 2}
    kept = await update(assistants, made, name="renamed")
    assert (kept.config_json, kept.context_json) == (changed.config_json, changed.context_json)


async def test_existing_ids(assistants):
    made = await create(assistants, name="first")
    again = {"assistant_id": made.assistant_id, "name": "second"}
    assert await refused(create(assistants, **again)) == "ASSISTANT_EXISTS"
    assert await create(assistants, **again, do_nothing_if_exists=True) == made


async def test_versions_grow_and_can_be_restored(assistants):
    made = await create(assistants, name="one", metadata_json=b'{"a":1,"b":1}', config_json=b'{"tags":["one"]}')
    two = await update(assistants, made, name="two", metadata_json=b'{"b":2}', graph_id="chat")
    assert (two.version, two.name, two.graph_id) == (2, "two", "chat")
    assert orjson.loads(two.metadata_json) == {"a": 1, "b": 2}
    assert orjson.loads(two.config_json) == {"tags": ["one"]}
    restored = await assistants.SetLatestVersion(pb.SetLatestVersionRequest(assistant_id=made.assistant_id, version=1))
    assert (restored.version, restored.name, restored.graph_id) == (1, "one", "echo")
    assert orjson.loads(restored.metadata_json) == {"a": 1, "b": 1}
    assert (await update(assistants, made, name="three")).version == 3

    async def versions(**fields):
        request = pb.ListAssistantVersionsRequest(assistant_id=made.assistant_id, **fields)
        return [each.version for each in (await assistants.ListAssistantVersions(request)).versions]

    assert await versions() == [3, 2, 1]
    assert await versions(limit=1, offset=1) == [2]
    assert await versions(metadata_json=b'{"b":2}') == [2]


async def test_deletion(assistants):
    made = await create(assistants)
    await assistants.DeleteAssistant(pb.DeleteAssistantRequest(assistant_id=made.assistant_id))
    for call in (
        get(assistants, made.assistant_id),
        update(assistants, made, name="x"),
        assistants.DeleteAssistant(pb.DeleteAssistantRequest(assistant_id=made.assistant_id)),
        assistants.ListAssistantVersions(pb.ListAssistantVersionsRequest(assistant_id=made.assistant_id)),
        assistants.SetLatestVersion(pb.SetLatestVersionRequest(assistant_id=made.assistant_id, version=1)),
    ):
        assert await refused(call) == "ASSISTANT_NOT_FOUND"


async def test_refusals(assistants):
    made = await create(assistants)
    assert await refused(create(assistants, "nope")) == "GRAPH_NOT_FOUND"
    assert await refused(update(assistants, made, graph_id="nope")) == "GRAPH_NOT_FOUND"
    assert await refused(create(assistants, assistant_id="nope")) == "INVALID_ARGUMENT"
    assert await refused(get(assistants, "echo")) == "INVALID_ARGUMENT"
    assert await refused(get(assistants, "nope", allow_graph_id=True)) == "INVALID_ASSISTANT"
    assert await refused(get(assistants, UNKNOWN)) == "ASSISTANT_NOT_FOUND"
    assert await refused(create(assistants, metadata_json=b'{"k":"\\u0000"}')) == "INVALID_ARGUMENT"
    assert await refused(update(assistants, made, metadata_json=b'{"k":"\\u0000"}')) == "INVALID_ARGUMENT"
    assert await refused(update(assistants, made, name="nul\0")) == "INVALID_ARGUMENT"
    version = pb.SetLatestVersionRequest(assistant_id=made.assistant_id, version=9)
    assert await refused(assistants.SetLatestVersion(version)) == "VERSION_NOT_FOUND"
    counted = pb.CountAssistantsRequest(filter=pb.AssistantFilter(graph_id="nope"))
    assert await refused(assistants.CountAssistants(counted)) == "GRAPH_NOT_FOUND"


async def test_search_filters_sorts_and_pages(assistants):
    names = ["banana", "Apple", "cherry", "apricot_x"]
    made = [
        await create(assistants, "chat" if n % 2 else "echo", name=name, metadata_json=b'{"n":%d,"all":true}' % n)
        for n, name in enumerate(names)
    ]
    await update(assistants, made[0], description="touched")
    ours = {"metadata_json": b'{"all":true}'}

    async def found(filters=None, **fields):
        request = pb.SearchAssistantsRequest(filter=pb.AssistantFilter(**{**ours, **(filters or {})}), **fields)
        answer = await assistants.SearchAssistants(request)
        return [each.name for each in answer.assistants], answer.has_more

    ascending = common_pb2.SORT_ORDER_ASCENDING
    sort = pb.SearchAssistantsRequest
    assert await found() == (names[::-1], False)
    assert await found(sort_order=ascending) == (names, False)
    assert await found(sort_by=sort.SORT_BY_UPDATE_TIME, limit=1) == (["banana"], True)
    assert (await found(sort_by=sort.SORT_BY_GRAPH_ID, sort_order=ascending))[0][:2] != names[:2]
    by_id = [each.name for each in sorted(made, key=lambda each: each.assistant_id)]
    assert await found(sort_by=sort.SORT_BY_ASSISTANT_ID, sort_order=ascending) == (by_id, False)
    by_name = (await found(sort_by=sort.SORT_BY_NAME, sort_order=ascending))[0]
    assert [name.lower() for name in by_name] == sorted(name.lower() for name in names) or by_name == sorted(names)
    assert await found(limit=2, sort_order=ascending) == (names[:2], True)
    assert await found(limit=2, offset=2, sort_order=ascending) == (names[2:], False)
    assert await found({"graph_id": "chat"}, sort_order=ascending) == (["Apple", "apricot_x"], False)
    assert await found({"name": "AP"}, sort_order=ascending) == (["Apple", "apricot_x"], False)
    assert await found({"name": "_"}) == (["apricot_x"], False), "no wildcards"
    assert await found({"name": "%"}) == ([], False)
    assert await found({"metadata_json": b'{"n":2}'}) == (["cherry"], False)
    counted = pb.CountAssistantsRequest(filter=pb.AssistantFilter(**ours, graph_id="echo"))
    assert (await assistants.CountAssistants(counted)).count == 2


async def test_a_description_can_be_removed(assistants):
    made = await create(assistants, description="first")
    assert (await update(assistants, made, name="renamed")).description == "first"
    assert not (await update(assistants, made, clear_description=True)).HasField("description")
    assert (await update(assistants, made, description="")).HasField("description"), "empty is not absent"


async def test_executors_that_announce_in_another_order_do_not_block_each_other(system):
    graphs = [f"graph-{n}" for n in range(20)]
    executors = [system.executor(*(graphs if n % 2 else reversed(graphs))) for n in range(8)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(executor.attach() for executor in executors))


@pytest.mark.parametrize("name", ["n" * 100_000, "".join(chr(0x4E00 + n) for n in range(9_000))])
async def test_names_of_any_length(assistants, name):
    made = await create(assistants, name=name)
    assert (await get(assistants, made.assistant_id)).name == name
    changed = await update(assistants, made, name=name[::-1])
    found = await assistants.SearchAssistants(
        pb.SearchAssistantsRequest(filter={"name": name[::-1]}, limit=10, sort_by="SORT_BY_NAME")
    )
    assert [each.assistant_id for each in found.assistants] == [changed.assistant_id]


@pytest.mark.parametrize("form", ["urn:uuid:{}", "{{{}}}", "urn:{}"])
async def test_what_only_python_takes_for_a_uuid_names_no_assistant(system, form):
    await system.executor("echo").attach()
    found = await system.assistants.GetAssistant(pb.GetAssistantRequest(assistant_id="echo", allow_graph_id=True))
    reason = await refused(system.create(await system.thread(), assistant_id=form.format(found.assistant_id)))
    assert reason == "INVALID_ASSISTANT"
