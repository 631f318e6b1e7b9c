"""Audit of a registered version: from the registry to every byte it came from, changing nothing.

::

    version → run → commit → dvc.lock → outputs → objects → images
    registry.py     commit.py  lock.py             objects.py  images.py

What results say of themselves is in `lineage`, what MLflow serves in `artifact`, the files of the workspace in
`working_tree`, the format of DVC's files in `records`; `walk` goes through all of it and makes the `report`.
"""
