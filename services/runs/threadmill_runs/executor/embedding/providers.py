"""What `store.index.embed` names, as a LangChain Embeddings object."""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings

from threadmill_runs.executor.embedding.config import IndexConfig
from threadmill_runs.executor.graphs.config_file import GraphSpec
from threadmill_runs.executor.graphs.errors import ConfigError
from threadmill_runs.executor.graphs.loader import describe_failure, load_object

# Understood without the package `langchain`, which knows many more.
_OPENAI = ("langchain_openai", "OpenAIEmbeddings")


def load_embeddings(config: IndexConfig) -> Embeddings:
    """Loads the user's function or object, or makes the provider's client. Blocking: imports the user's modules.

    Raises ConfigError, with what the user's module or the provider raised.
    """
    try:
        if _is_code(config.embed):
            return _own(config)
        provider, _, model = config.embed.partition(":")
        return _provided(provider, model)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # user code and providers raise whatever they like
        raise ConfigError(f"{config.path}: `store.index.embed` cannot be used: {describe_failure(error)}") from error


def _is_code(embed: str) -> bool:
    """Whether it names code rather than a provider: a file, or a dotted module, which no provider has."""
    module = embed.rpartition(":")[0]
    return module.endswith(".py") or "/" in module or os.sep in module or "." in module


def _own(config: IndexConfig) -> Embeddings:
    module, _, attribute = config.embed.rpartition(":")
    is_file = module.endswith(".py") or "/" in module or os.sep in module
    place = str((config.path.parent / Path(module)).resolve()) if is_file else module
    found: Any = load_object(GraphSpec("", place, is_file, attribute))
    if not isinstance(found, Embeddings) and not callable(found):
        raise TypeError(f"{attribute!r} must be a function of a list of texts or an Embeddings object")
    return ensure_embeddings(found)


def _provided(provider: str, model: str) -> Embeddings:
    options: dict[str, Any] = {}
    if provider == "openai" and (os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")):
        # Servers that merely speak OpenAI's protocol know texts, but not the token numbers of OpenAI's own models.
        options["check_embedding_ctx_length"] = False
    if find_spec("langchain") is not None:
        made = import_module("langchain.embeddings").init_embeddings(model, provider=provider, **options)
    elif provider == "openai":
        module, name = _OPENAI
        made = getattr(import_module(module), name)(model=model, **options)
    else:
        raise ValueError(f"the provider {provider!r} needs the package `langchain`, and the provider's own")
    if not isinstance(made, Embeddings):
        raise TypeError(f"the provider {provider!r} made something else than Embeddings")
    return made
