"""Assistants: named, versioned configurations of graphs, and the graphs that executors announce."""
