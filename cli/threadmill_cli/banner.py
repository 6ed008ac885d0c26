"""The text that says that everything runs, and where."""

from threadmill_cli.stack import Stack

# Scripts and tests wait for a line that begins with this.
READY = "Threadmill is ready"


def banner(stack: Stack, *, reload: bool) -> str:
    """What `threadmill dev` prints when it can be used."""
    graphs = ", ".join(graph for project in stack.projects for graph in project.graphs)
    rows = {
        "API": stack.plan.api_url,
        **({"API docs": f"{stack.plan.api_url}/docs"} if stack.plan.has_docs else {}),
        "Graphs": graphs,
        "Data": str(stack.folder.path),
        "Model": "offline stand-in, because OPENAI_API_KEY is not set" if stack.uses_offline_model else "yours",
        "Reload": "on every change of the project's Python files" if reload else "off",
        "Stop": "Ctrl-C",
    }
    return "\n".join([f"\n{READY}", *(f"  {name:<9} {value}" for name, value in rows.items()), ""])
