from .driving import *
async def test_x(client, thread_id):
    result = await client.runs.wait(thread_id, "choices", input={"log": []})
    print((await client.threads.get(thread_id))["interrupts"])
    ids = {interrupt["value"]: interrupt["id"] for interrupt in result["__interrupt__"]}
    async for p in client.runs.stream(thread_id, "choices", command={"resume": {ids["left?"]: "L"}},stream_mode=["values","updates","debug"]): print(p)
    print(await client.threads.get(thread_id))
    print(await client.threads.get_state(thread_id))
    assert 0
