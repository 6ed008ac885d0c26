"""What an assistant or a run may configure."""

from dataclasses import dataclass, fields
from typing import Any

from langchain_core.runnables import RunnableConfig

DEFAULT_ROLE = (
    "You are a friendly assistant who helps a busy person to keep track of their to-dos: "
    "you note them down, keep them up to date and help to decide what to do next."
)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Whose memory is used, for which part of life, and in what manner."""

    user_id: str = "default-user"
    todo_category: str = "general"
    task_maistro_role: str = DEFAULT_ROLE

    @classmethod
    def of(cls, config: RunnableConfig, context: "Configuration | None" = None) -> "Configuration":
        """Merge: `config["configurable"]` wins over the context, which wins over the defaults."""
        configurable: dict[str, Any] = config.get("configurable") or {}
        base = context or cls()
        return cls(**{field.name: configurable.get(field.name) or getattr(base, field.name) for field in fields(cls)})

    def namespace(self, kind: str) -> tuple[str, str, str]:
        """The store namespace of one kind of memory."""
        return (kind, self.todo_category, self.user_id)
