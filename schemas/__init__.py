"""The wire and the files: every record on a topic and every manifest in a model folder, versioned.

Nothing here imports the worker or the trainer. Readers ignore fields they don't know; writers never
remove or retype a field within a ``schema_version``.
"""
