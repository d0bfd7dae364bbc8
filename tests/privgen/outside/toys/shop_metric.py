"""A metric from outside the tree: how much of the real stripes' contrast the generated ones have."""

import numpy as np

from privgen.catalogue import Metric


def contrast(made, data):
    """Mean difference of neighbouring rows in the second class, generated over real."""

    def of(images, labels):
        rows = images[labels == 1].astype(float)
        return float(np.abs(np.diff(rows, axis=1)).mean())

    return {"ratio": of(made.images, made.labels) / of(data.test.images, data.test.labels)}


ENTRY = Metric(name="contrast", reads=("test",), needs_labels=True, measure="shop_metric:contrast")
