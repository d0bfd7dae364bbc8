"""Image data sets: uint8 images, labels, and a stable identity for each record.

>>> digits = load_data("digits")
>>> digits.train.images.shape, len(digits.test.labels)
((1437, 28, 28, 1), 360)
"""

from privgen.data.load import find_dataset_folder, load_data
from privgen.data.records import DataSet, ImageData

__all__ = ["DataSet", "ImageData", "find_dataset_folder", "load_data"]
