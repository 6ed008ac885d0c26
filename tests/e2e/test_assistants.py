"""Assistants through the SDK: those of the system, one's own, their versions, and what their graphs look like."""

from uuid import UUID, uuid4, uuid5

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError, UnprocessableEntityError

SYSTEM = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
UNKNOWN = "0195f000-0000-7000-8000-0000000fffff"


def system_id(graph_id: str) -> str:
    return str(uuid5(SYSTEM, graph_id))


@pytest.fixture
def name() -> str:
    """A name that no other test's assistants have."""
    return f"assistant {uuid4().hex}"


async def test_every_graph_has_an_assistant_with_a_known_id(client: LangGraphClient) -> None:
    assert system_id("steps") == "01d10e59-d4b4-51ec-8e94-9b2716b34de8"
    found = await client.assistants.search(metadata={"created_by": "system"}, limit=100)
    assert {assistant["assistant_id"] for assistant in found} >= {
        system_id(graph) for graph in ("steps", "echo", "chat", "ask", "nested", "task_maistro")
    }
    steps = await client.assistants.get(system_id("steps"))
    assert (steps["name"], steps["graph_id"], steps["version"]) == ("steps", "steps", 1)
    assert steps["metadata"] == {"created_by": "system"}
    assert steps["description"] == "Ten steps, each noted in a file"


async def test_runs_take_a_graphs_name_or_an_assistants_id(client: LangGraphClient) -> None:
    for assistant in ("echo", system_id("echo")):
        result = await client.runs.wait(None, assistant, input={"text": "hi"})
        assert result["answer"] == "echo: hi"  # type: ignore[call-overload,index]


async def test_names_are_no_identifiers_elsewhere(client: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError, match="Invalid assistant ID: must be a UUID"):
        await client.assistants.get("echo")
    with pytest.raises(UnprocessableEntityError, match="Invalid assistant ID: must be a UUID"):
        await client.assistants.get_schemas("echo")


async def test_own_assistant_is_created_found_and_deleted(client: LangGraphClient, name: str) -> None:
    created = await client.assistants.create("echo", name=name, metadata={"a": 1}, description="mine")
    assert created["version"] == 1
    assert await client.assistants.get(created["assistant_id"]) == created
    assert await client.assistants.search(name=name.upper()) == [created]
    assert await client.assistants.count(name=name) == 1
    await client.assistants.delete(created["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.assistants.get(created["assistant_id"])
    assert await client.assistants.search(name=name) == []


async def test_chosen_id_is_taken_once(client: LangGraphClient, name: str) -> None:
    chosen = str(uuid4())
    created = await client.assistants.create("echo", assistant_id=chosen, name=name)
    with pytest.raises(ConflictError, match=f"Assistant {chosen} already exists"):
        await client.assistants.create("echo", assistant_id=chosen)
    again = await client.assistants.create("echo", assistant_id=chosen, name="other", if_exists="do_nothing")
    assert again == created


async def test_unknown_graph_is_refused_with_the_known_ones(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError, match=r"Graph 'nope' not found\. Expected one of: ") as raised:
        await client.assistants.create("nope")
    assert "'echo'" in str(raised.value)


async def test_unknown_assistant_is_not_found(client: LangGraphClient) -> None:
    for question in (
        client.assistants.get(UNKNOWN),
        client.assistants.update(UNKNOWN, name="x"),
        client.assistants.delete(UNKNOWN),
        client.assistants.get_schemas(UNKNOWN),
        client.assistants.get_graph(UNKNOWN),
        client.assistants.get_versions(UNKNOWN),
        client.runs.create(None, UNKNOWN, input={}),
    ):
        with pytest.raises(NotFoundError):
            await question


async def test_config_and_context_mirror_each_other(client: LangGraphClient, name: str) -> None:
    by_context = await client.assistants.create("echo", name=name, context={"model": "m"})
    assert by_context["config"]["configurable"] == {"model": "m"}
    by_config = await client.assistants.create("echo", name=name, config={"configurable": {"model": "m"}})
    assert by_config["context"] == {"model": "m"}
    with pytest.raises(BadRequestError):
        await client.assistants.create("echo", config={"configurable": {"a": 1}}, context={"a": 1})


async def test_every_update_is_a_version_and_old_ones_can_be_restored(client: LangGraphClient, name: str) -> None:
    assistant_id = (await client.assistants.create("echo", name=name, metadata={"a": 1}))["assistant_id"]
    second = await client.assistants.update(
        assistant_id, graph_id="chat", context={"mark": "!"}, metadata={"b": 2}, name=f"{name} 2"
    )
    assert (second["version"], second["graph_id"], second["metadata"]) == (2, "chat", {"a": 1, "b": 2})
    versions = await client.assistants.get_versions(assistant_id)
    assert [version["version"] for version in versions] == [2, 1]
    restored = await client.assistants.set_latest(assistant_id, 1)
    assert restored["version"] == 1
    assert (restored["graph_id"], restored["context"], restored["name"]) == ("echo", {}, name)
    assert (await client.runs.wait(None, assistant_id, input={"text": "hi"}))["answer"] == "echo: hi"  # type: ignore[call-overload,index]
    assert (await client.assistants.update(assistant_id, name=name))["version"] == 3
    with pytest.raises(NotFoundError, match=f"Version 99 not found for assistant {assistant_id}"):
        await client.assistants.set_latest(assistant_id, 99)


async def test_context_of_the_assistant_configures_its_runs(client: LangGraphClient, thread_id: str, name: str) -> None:
    assistant = await client.assistants.create("choices", name=name, context={"mark": "!"})
    result = await client.runs.wait(thread_id, assistant["assistant_id"], input={"log": []})
    answers = {each["id"]: each["value"] for each in result["__interrupt__"]}  # type: ignore[call-overload,index]
    result = await client.runs.wait(thread_id, assistant["assistant_id"], command={"resume": answers})
    assert result == {"log": ["left left?!", "right right?"]}


async def test_search_pages_and_says_where_to_go_on(client: LangGraphClient, name: str) -> None:
    for number in range(3):
        await client.assistants.create("echo", name=f"{name} {number}")
    first = await client.assistants.search(
        name=name, limit=2, sort_by="name", sort_order="asc", response_format="object"
    )
    assert [assistant["name"] for assistant in first["assistants"]] == [f"{name} 0", f"{name} 1"]
    assert first["next"] == "2"
    last = await client.assistants.search(
        name=name, limit=2, offset=2, sort_by="name", sort_order="asc", response_format="object"
    )
    assert [assistant["name"] for assistant in last["assistants"]] == [f"{name} 2"]
    assert last["next"] is None
    newest_first = await client.assistants.search(name=name, select=["name"])
    assert newest_first == [{"name": f"{name} {number}"} for number in (2, 1, 0)]


async def test_graph_is_drawn(client: LangGraphClient) -> None:
    drawn = await client.assistants.get_graph("nested")
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "outer", "child", "__end__"]
    edges = [(edge["source"], edge["target"]) for edge in drawn["edges"]]
    assert edges == [("__start__", "outer"), ("outer", "child"), ("child", "__end__")]
    deep = await client.assistants.get_graph(system_id("nested"), xray=True)
    assert "child:inner" in {node["id"] for node in deep["nodes"]} or any(
        str(node["id"]).startswith("child") and node["id"] != "child" for node in deep["nodes"]
    )


async def test_schemas_are_those_of_the_graph(client: LangGraphClient) -> None:
    schemas = await client.assistants.get_schemas(system_id("echo"))
    assert schemas["graph_id"] == "echo"
    for kind in ("input_schema", "output_schema", "state_schema"):
        assert set(schemas[kind]["properties"]) == {"text", "answer"}  # type: ignore[literal-required]
    assert (schemas["config_schema"], schemas["context_schema"]) == ({}, None)
    configured = await client.assistants.get_schemas(system_id("task_maistro"))
    declared = {"user_id", "todo_category", "task_maistro_role"}
    assert set(configured["context_schema"]["properties"]) == declared  # type: ignore[index]


async def test_subgraphs_have_schemas(client: LangGraphClient) -> None:
    found = await client.assistants.get_subgraphs(system_id("nested"))
    assert list(found) == ["child"]
    assert set(found["child"]["state_schema"]["properties"]) == {"ask", "log"}
    assert await client.assistants.get_subgraphs(system_id("nested"), namespace="nope") == {}
    assert await client.assistants.get_subgraphs(system_id("echo"), recurse=True) == {}


async def test_deleting_an_assistant_can_take_its_threads_along(client: LangGraphClient, name: str) -> None:
    assistant_id = (await client.assistants.create("echo", name=name))["assistant_id"]
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, assistant_id, input={"text": "hi"})
    await client.assistants.delete(assistant_id, delete_threads=True)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread_id)
