"""gRPC edge of assistants."""

from uuid import uuid4

from threadmill_chassis.grpc_server import Context
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import assistants_pb2, assistants_pb2_grpc

from threadmill_runs.api.decode import object_of, page_of, uuid_of
from threadmill_runs.api.encode import assistant_proto, graph_proto
from threadmill_runs.assistants.repo import AssistantRepo

SORT_COLUMNS = {
    assistants_pb2.SearchAssistantsRequest.SORT_BY_UNSPECIFIED: "created_at",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_ASSISTANT_ID: "assistant_id",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_CREATE_TIME: "created_at",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_UPDATE_TIME: "updated_at",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_NAME: "name",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_GRAPH_ID: "graph_id",
}


class AssistantsServicer(assistants_pb2_grpc.AssistantsServicer):
    """Serves threadmill.runs.v1.Assistants."""

    def __init__(self, repo: AssistantRepo) -> None:
        self._repo = repo

    async def CreateAssistant(
        self, request: assistants_pb2.CreateAssistantRequest, context: Context
    ) -> assistants_pb2.Assistant:
        return assistant_proto(
            await self._repo.create(
                uuid_of(request.assistant_id, "assistant") if request.assistant_id else str(uuid4()),
                request.graph_id,
                object_of(request.config_json, "config"),
                object_of(request.context_json, "context"),
                object_of(request.metadata_json, "metadata"),
                request.name,
                request.description if request.HasField("description") else None,
                do_nothing_if_exists=request.do_nothing_if_exists,
            )
        )

    async def GetAssistant(
        self, request: assistants_pb2.GetAssistantRequest, context: Context
    ) -> assistants_pb2.Assistant:
        if request.allow_graph_id:
            return assistant_proto(await self._repo.resolve(request.assistant_id))
        return assistant_proto(await self._repo.get(uuid_of(request.assistant_id, "assistant")))

    async def UpdateAssistant(
        self, request: assistants_pb2.UpdateAssistantRequest, context: Context
    ) -> assistants_pb2.Assistant:
        return assistant_proto(
            await self._repo.update(
                uuid_of(request.assistant_id, "assistant"),
                request.graph_id if request.HasField("graph_id") else None,
                object_of(request.config_json, "config"),
                object_of(request.context_json, "context"),
                object_of(request.metadata_json, "metadata"),
                request.name if request.HasField("name") else None,
                request.description if request.HasField("description") else None,
                clear_description=request.clear_description,
            )
        )

    async def DeleteAssistant(
        self, request: assistants_pb2.DeleteAssistantRequest, context: Context
    ) -> assistants_pb2.DeleteAssistantResponse:
        await self._repo.delete(uuid_of(request.assistant_id, "assistant"))
        return assistants_pb2.DeleteAssistantResponse()

    async def SearchAssistants(
        self, request: assistants_pb2.SearchAssistantsRequest, context: Context
    ) -> assistants_pb2.SearchAssistantsResponse:
        found, has_more = await self._repo.search(
            object_of(request.filter.metadata_json, "metadata"),
            request.filter.graph_id,
            request.filter.name,
            SORT_COLUMNS[request.sort_by],
            *page_of(request.limit, request.offset),
            ascending=request.sort_order == common_pb2.SORT_ORDER_ASCENDING,
        )
        return assistants_pb2.SearchAssistantsResponse(
            assistants=[assistant_proto(each) for each in found], has_more=has_more
        )

    async def CountAssistants(
        self, request: assistants_pb2.CountAssistantsRequest, context: Context
    ) -> assistants_pb2.CountAssistantsResponse:
        metadata_json = object_of(request.filter.metadata_json, "metadata")
        count = await self._repo.count(metadata_json, request.filter.graph_id, request.filter.name)
        return assistants_pb2.CountAssistantsResponse(count=count)

    async def ListAssistantVersions(
        self, request: assistants_pb2.ListAssistantVersionsRequest, context: Context
    ) -> assistants_pb2.ListAssistantVersionsResponse:
        versions = await self._repo.versions(
            uuid_of(request.assistant_id, "assistant"),
            object_of(request.metadata_json, "metadata"),
            *page_of(request.limit, request.offset),
        )
        return assistants_pb2.ListAssistantVersionsResponse(versions=[assistant_proto(each) for each in versions])

    async def SetLatestVersion(
        self, request: assistants_pb2.SetLatestVersionRequest, context: Context
    ) -> assistants_pb2.Assistant:
        return assistant_proto(await self._repo.restore(uuid_of(request.assistant_id, "assistant"), request.version))

    async def ListGraphs(
        self, request: assistants_pb2.ListGraphsRequest, context: Context
    ) -> assistants_pb2.ListGraphsResponse:
        graphs = await self._repo.graphs()
        return assistants_pb2.ListGraphsResponse(graphs=[graph_proto(graph) for graph in graphs])
