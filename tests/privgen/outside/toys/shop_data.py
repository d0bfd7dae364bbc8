"""A data set from outside the tree: plain images and striped ones."""

import numpy as np

from accountant.plans.public_facts import PublicFacts
from privgen.catalogue import Dataset
from privgen.data import DataSet, ImageData
from privgen.data.identity import identities

CLASSES = ("plain", "striped")


def stripes(name, data_dir):
    """200 records to train on, 20 held out."""

    def split(kind, count):
        labels = np.arange(count, dtype=np.int64) % 2
        images = np.full((count, 16, 16, 1), 200, dtype=np.uint8)
        images[labels == 1, ::2] = 20
        ids = identities(f"{name}/{kind}/{row}" for row in range(count))
        return ImageData(name=name, split=kind, images=images, labels=labels, class_names=CLASSES, ids=ids)

    return DataSet(name, split("train", 200), split("test", 20), source=name)


ENTRY = Dataset(
    facts=PublicFacts(name="shop-stripes", classes=CLASSES, shape=(16, 16, 1)), size=200, loader="shop_data:stripes"
)
