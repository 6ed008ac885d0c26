"""The environment of child processes: above all, the executor never holds a credential."""

from dataclasses import replace
from pathlib import Path

import pytest
from threadmill_cli.data_folder import DataFolder
from threadmill_cli.environment import (
    Backends,
    external_dsns,
    is_credential,
    needs_offline_model,
    single_process_environment,
    without_credentials,
)
from threadmill_cli.project import Project
from threadmill_cli.refusal import CannotRun
from threadmill_cli.services import ServicePlan

SECRET = "s3cret"
CREDENTIALS = {
    "DATABASE_URI": f"postgresql://u:{SECRET}@db/x",
    "REDIS_URI": f"redis://:{SECRET}@cache",
    "POSTGRES_PASSWORD": SECRET,
    "POSTGRES_URI": f"postgresql://u:{SECRET}@db/x",
    "PGPASSWORD": SECRET,
    "THREADMILL_POSTGRES_DSN": f"postgresql://u:{SECRET}@db/x",
    "THREADMILL_THREADS_POSTGRES_DSN": f"postgresql://u:{SECRET}@db/x",
    "THREADMILL_STORE_POSTGRES_DSN": f"postgresql://u:{SECRET}@db/x",
    "THREADMILL_RUNS_POSTGRES_DSN": f"postgresql://u:{SECRET}@db/x",
    "THREADMILL_REDIS_URI": f"redis://:{SECRET}@cache",
    "REPORTING_DSN": f"host=db password={SECRET}",
}
USERS = {
    "TAVILY_API_KEY": "tvly",
    "SENTRY_DSN": "https://key@sentry.example/1",
    "PATH": "/usr/bin",
    "THREADMILL_POSTGRES_POOL_MAX": "5",
    "PGLOADER_HOME": "/opt",
}


@pytest.fixture
def plan(tmp_path: Path) -> ServicePlan:
    dsns = {f"{name}_dsn": f"postgresql://{name}:{SECRET}@db/x" for name in ("threads", "store", "runs")}
    return ServicePlan(
        folder=DataFolder(tmp_path, tmp_path),
        backends=Backends(**dsns, redis_uri=f"redis://:{SECRET}@own"),
        environment={**CREDENTIALS, **USERS, "THREADMILL_THREADS_ADDRESS": "elsewhere:1", "N_JOBS_PER_WORKER": "4"},
        host="127.0.0.1",
        port=8123,
    )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "langgraph.json", ("agent",), {}, None, (tmp_path,))


def test_executor_and_gateway_hold_no_credentials(plan: ServicePlan, project: Project) -> None:
    for spec in (plan.executor("executor", project, None), plan.gateway(), plan.offline_model(9000)):
        assert SECRET not in repr(dict(spec.env))
        assert not [name for name, value in spec.env.items() if is_credential(name, value)]


def test_executor_gets_the_users_own_variables(plan: ServicePlan, project: Project) -> None:
    env = plan.executor("executor", project, None).env
    assert USERS.items() <= env.items()
    assert env["N_JOBS_PER_WORKER"] == "4"
    assert env["THREADMILL_CONFIG"] == str(project.config)


def test_each_data_service_gets_its_own_dsn_and_only_runs_gets_redis(plan: ServicePlan) -> None:
    for name in ("threads", "store", "runs"):
        env = plan.data_service(name).env
        assert env["THREADMILL_POSTGRES_DSN"] == plan.backends.dsns()[name]
        assert ("THREADMILL_REDIS_URI" in env) == (name == "runs")
        assert "DATABASE_URI" not in env


def test_addresses_are_ours_whatever_the_shell_says(plan: ServicePlan) -> None:
    env = plan.gateway().env
    assert env["THREADMILL_THREADS_ADDRESS"] == plan.address("threads")
    assert plan.data_service("threads").env["THREADMILL_BIND"] == plan.address("threads")


def test_settings_of_the_project_reach_their_process(plan: ServicePlan, project: Project) -> None:
    configured = replace(plan, settings={"gateway": {"THREADMILL_MOUNT_PREFIX": "/api/"}, "runs": {"X": "1"}})
    assert configured.data_service("runs").env["X"] == "1"
    assert configured.api_url == "http://127.0.0.1:8123/api"
    assert configured.executor("executor", project, None).env["THREADMILL_API_URL"] == configured.api_url
    assert configured.data_service("runs").env["THREADMILL_WEBHOOK_BASE_URL"] == "http://127.0.0.1:8123"


def test_the_shell_replaces_what_we_would_guess(plan: ServicePlan, project: Project) -> None:
    private = "THREADMILL_CORS_ALLOW_PRIVATE_NETWORK"
    assert plan.gateway().env[private] == "true"
    assert replace(plan, settings={"gateway": {private: "false"}}).gateway().env[private] == "false"
    assert replace(plan, environment={private: "false"}).gateway().env[private] == "false"
    shell = {"LANGGRAPH_API_URL": "https://a.example", "THREADMILL_WEBHOOK_BASE_URL": "https://b.example"}
    set_up = replace(plan, environment=shell)
    assert "THREADMILL_API_URL" not in set_up.executor("executor", project, None).env
    assert set_up.data_service("runs").env["THREADMILL_WEBHOOK_BASE_URL"] == "https://b.example"


def test_slots_of_the_command_win_over_those_of_the_shell(plan: ServicePlan, project: Project) -> None:
    env = replace(plan, slots=7, environment={"THREADMILL_SLOTS": "2"}).executor("executor", project, None).env
    assert env["THREADMILL_SLOTS"] == "7"


def test_documentation_is_shown_where_there_is_some(plan: ServicePlan) -> None:
    assert plan.has_docs
    assert not replace(plan, settings={"gateway": {"THREADMILL_DISABLED_ROUTES": "store,meta"}}).has_docs


def test_offline_model_reaches_the_executor_only(plan: ServicePlan, project: Project) -> None:
    url = "http://127.0.0.1:9010/v1"
    assert plan.executor("executor", project, url).env["OPENAI_BASE_URL"] == url
    assert "OPENAI_API_KEY" in plan.executor("executor", project, url).env
    assert "OPENAI_BASE_URL" not in plan.gateway().env


def test_extra_variables_win(plan: ServicePlan) -> None:
    changed = ServicePlan(
        folder=plan.folder, backends=plan.backends, environment={}, host="::", port=1,
        extra={"runs": {"THREADMILL_LOG_LEVEL": "debug"}},
    )  # fmt: skip
    assert changed.data_service("runs").env["THREADMILL_LOG_LEVEL"] == "debug"
    assert changed.data_service("store").env["THREADMILL_LOG_LEVEL"] == "info"


@pytest.mark.parametrize("name", sorted(CREDENTIALS))
def test_credentials_are_not_inherited(name: str) -> None:
    assert without_credentials({name: CREDENTIALS[name], **USERS}) == USERS


def test_offline_model_is_for_those_who_configured_none() -> None:
    assert needs_offline_model({}, {})
    assert needs_offline_model({"OPENAI_API_KEY": ""}, {})
    assert not needs_offline_model({"OPENAI_API_KEY": "sk"}, {})
    assert not needs_offline_model({}, {"OPENAI_API_KEY": "sk"})
    assert not needs_offline_model({"OPENAI_BASE_URL": "http://localhost:11434/v1"}, {})


def test_external_dsns_come_from_one_variable_or_three() -> None:
    own = {f"THREADMILL_{name}_POSTGRES_DSN": name for name in ("THREADS", "STORE", "RUNS")}
    assert external_dsns({}) is None
    assert external_dsns({"DATABASE_URI": "all"}) == dict.fromkeys(("threads", "store", "runs"), "all")
    assert external_dsns(own) == {"threads": "THREADS", "store": "STORE", "runs": "RUNS"}
    del own["THREADMILL_STORE_POSTGRES_DSN"]
    assert external_dsns({**own, "DATABASE_URI": "all"}) == {"threads": "THREADS", "store": "all", "runs": "RUNS"}
    with pytest.raises(CannotRun, match="THREADMILL_STORE_POSTGRES_DSN is not set"):
        external_dsns(own)


def test_a_process_run_by_itself_gets_credentials_only_if_it_owns_data() -> None:
    assert single_process_environment("executor", {**CREDENTIALS, **USERS}) == USERS
    assert single_process_environment("gateway", {**CREDENTIALS, **USERS}) == USERS
    threads = single_process_environment("threads", {"DATABASE_URI": "dsn", "REDIS_URI": "uri"})
    assert threads == {"THREADMILL_POSTGRES_DSN": "dsn"}
    runs = single_process_environment("runs", {"THREADMILL_RUNS_POSTGRES_DSN": "own", "REDIS_URI": "uri"})
    assert runs == {"THREADMILL_POSTGRES_DSN": "own", "THREADMILL_REDIS_URI": "uri"}
    with pytest.raises(CannotRun, match="store has no database: set"):
        single_process_environment("store", {})
    with pytest.raises(CannotRun, match="runs has no Redis: set"):
        single_process_environment("runs", {"DATABASE_URI": "dsn"})
