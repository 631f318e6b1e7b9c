"""From folders of images to what a method may see.

``image`` reads one file, ``readers`` lists a class in any public layout, ``validate`` checks it and
gives its ``manifest``, and ``experience`` opens the manifest for training or for evaluation.
"""
