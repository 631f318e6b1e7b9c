"""Audit of a registered version: from the registry to every byte it came from, changing nothing.

::

    version ── run ── commit ── dvc.lock ── stages ── outputs ── objects ── images
    registry.py       commit.py  lock.py              objects.py            images.py
    promotions                   lineage.py           working_tree.py       artifact.py
"""
