"""gRPC edge of assistants."""

from uuid import UUID, uuid4

from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.grpc_server import Context
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import assistants_pb2, assistants_pb2_grpc

from threadmill_runs.api.encode import assistant_proto, graph_proto
from threadmill_runs.assistants.repo import AssistantRepo, is_uuid

SORT_COLUMNS = {
    assistants_pb2.SearchAssistantsRequest.SORT_BY_UNSPECIFIED: "created_at",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_ASSISTANT_ID: "assistant_id",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_CREATE_TIME: "created_at",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_UPDATE_TIME: "updated_at",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_NAME: "name",
    assistants_pb2.SearchAssistantsRequest.SORT_BY_GRAPH_ID: "graph_id",
}
DEFAULT_LIMIT = 10


def _uuid(text: str) -> str:
    if not is_uuid(text):
        raise InvalidArgument("Invalid assistant ID: must be a UUID")
    return str(UUID(text))


class AssistantsServicer(assistants_pb2_grpc.AssistantsServicer):
    """Serves threadmill.runs.v1.Assistants."""

    def __init__(self, repo: AssistantRepo) -> None:
        self._repo = repo

    async def CreateAssistant(
        self, request: assistants_pb2.CreateAssistantRequest, context: Context
    ) -> assistants_pb2.Assistant:
        return assistant_proto(
            await self._repo.create(
                _uuid(request.assistant_id) if request.assistant_id else str(uuid4()),
                request.graph_id,
                request.config_json,
                request.context_json,
                request.metadata_json,
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
        return assistant_proto(await self._repo.get(_uuid(request.assistant_id)))

    async def UpdateAssistant(
        self, request: assistants_pb2.UpdateAssistantRequest, context: Context
    ) -> assistants_pb2.Assistant:
        return assistant_proto(
            await self._repo.update(
                _uuid(request.assistant_id),
                request.graph_id if request.HasField("graph_id") else None,
                request.config_json,
                request.context_json,
                request.metadata_json,
                request.name if request.HasField("name") else None,
                request.description if request.HasField("description") else None,
            )
        )

    async def DeleteAssistant(
        self, request: assistants_pb2.DeleteAssistantRequest, context: Context
    ) -> assistants_pb2.DeleteAssistantResponse:
        await self._repo.delete(_uuid(request.assistant_id))
        return assistants_pb2.DeleteAssistantResponse()

    async def SearchAssistants(
        self, request: assistants_pb2.SearchAssistantsRequest, context: Context
    ) -> assistants_pb2.SearchAssistantsResponse:
        found, has_more = await self._repo.search(
            request.filter.metadata_json,
            request.filter.graph_id,
            request.filter.name,
            SORT_COLUMNS[request.sort_by],
            request.limit or DEFAULT_LIMIT,
            request.offset,
            ascending=request.sort_order == common_pb2.SORT_ORDER_ASCENDING,
        )
        return assistants_pb2.SearchAssistantsResponse(
            assistants=[assistant_proto(each) for each in found], has_more=has_more
        )

    async def CountAssistants(
        self, request: assistants_pb2.CountAssistantsRequest, context: Context
    ) -> assistants_pb2.CountAssistantsResponse:
        count = await self._repo.count(request.filter.metadata_json, request.filter.graph_id, request.filter.name)
        return assistants_pb2.CountAssistantsResponse(count=count)

    async def ListAssistantVersions(
        self, request: assistants_pb2.ListAssistantVersionsRequest, context: Context
    ) -> assistants_pb2.ListAssistantVersionsResponse:
        versions = await self._repo.versions(
            _uuid(request.assistant_id), request.metadata_json, request.limit or DEFAULT_LIMIT, request.offset
        )
        return assistants_pb2.ListAssistantVersionsResponse(versions=[assistant_proto(each) for each in versions])

    async def SetLatestVersion(
        self, request: assistants_pb2.SetLatestVersionRequest, context: Context
    ) -> assistants_pb2.Assistant:
        return assistant_proto(await self._repo.restore(_uuid(request.assistant_id), request.version))

    async def ListGraphs(
        self, request: assistants_pb2.ListGraphsRequest, context: Context
    ) -> assistants_pb2.ListGraphsResponse:
        graphs = await self._repo.graphs()
        return assistants_pb2.ListGraphsResponse(graphs=[graph_proto(graph) for graph in graphs])
