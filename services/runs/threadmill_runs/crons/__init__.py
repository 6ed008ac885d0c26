"""Crons: schedules that create runs. Owns their ticks; knows nothing of what becomes of a run once it is accepted."""
