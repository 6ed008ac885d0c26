"""The rules by which the offline model reads and answers text, one file per subject.

They know language and JSON schemas; they must not know the wire format.
"""
