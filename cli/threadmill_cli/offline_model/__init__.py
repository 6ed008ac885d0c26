"""An offline stand-in for an OpenAI-compatible model server.

It owns the wire format (`wire`, `app`), the shape of a conversation (`conversation`) and a rule-based model
(`model`, `rules`) which works only from the text and the tool schemas it is sent. It exists so that examples and
tests run without a network or a key; it must not know of Threadmill, nor of any particular graph.

Start it with `python -m threadmill_cli.offline_model --host 127.0.0.1 --port 9010`.
"""
