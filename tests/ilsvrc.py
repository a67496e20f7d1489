"""A miniature ILSVRC2012 of three classes, as archives or as folders."""

import io
import tarfile
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from scipy.io import savemat

from qhyvit.data.entries import Entry
from qhyvit.data.imagenet import read_classes

# ILSVRC ids are in another order than the WordNet ids, as they are in truth; a synset with children is no class.
SYNSETS = [(1, "n02000000", 0), (2, "n03000000", 0), (3, "n01000000", 0), (4, "n00500000", 3)]
TRUTH = [3, 1, 1, 2, 3, 2, 1, 3, 2]  # ILSVRC ids of the validation images 1 to 9
LABELS = {"n01000000": 0, "n02000000": 1, "n03000000": 2}
VALIDATION = {  # by hand from both: image -> WordNet id
    1: "n01000000",
    2: "n02000000",
    3: "n02000000",
    4: "n03000000",
    5: "n01000000",
    6: "n03000000",
    7: "n02000000",
    8: "n01000000",
    9: "n03000000",
}
TRAIN = [("n03000000", 7), ("n03000000", 12), ("n01000000", 3), ("n02000000", 5), ("n02000000", 40), ("n02000000", 41)]


def read_entries(source: Path, classes: int) -> list[Entry]:
    """List the images of all classes, in the order of labels."""
    return list(chain(*read_classes(source, classes).values()))


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "jpeg")
    return buffer.getvalue()


TRAIN_FILES = {f"{wordnet_id}_{number}.JPEG": jpeg(1000 + number) for wordnet_id, number in TRAIN}
VALIDATION_FILES = {f"ILSVRC2012_val_{number:08d}.JPEG": jpeg(number) for number in VALIDATION}


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_devkit(path: Path, synsets=SYNSETS, truth=TRUTH, folder: str = "ILSVRC2012_devkit_t12") -> None:
    table = np.empty((len(synsets), 1), dtype=[(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "num_children")])
    for row, (number, wordnet_id, children) in zip(table, synsets, strict=True):
        row[0] = (number, wordnet_id, "some words, others", children)
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": table})
    data = {"meta.mat": buffer.getvalue(), "ILSVRC2012_validation_ground_truth.txt": "".join(f"{number}\n" for number in truth).encode()}
    write_tar(path, {f"{folder}/data/{name}": content for name, content in data.items()}, "w:gz")


def write_archives(root: Path) -> None:
    """The three archives of image-net.org that the project reads."""
    root.mkdir()
    by_class = {}
    with TemporaryDirectory() as folder:
        for wordnet_id in ("n03000000", "n01000000", "n02000000"):
            inner = Path(folder, "inner.tar")
            write_tar(inner, {name: content for name, content in TRAIN_FILES.items() if name.startswith(wordnet_id)})
            by_class[f"{wordnet_id}.tar"] = inner.read_bytes()
    write_tar(root / "ILSVRC2012_img_train.tar", by_class)
    write_tar(root / "ILSVRC2012_img_val.tar", dict(reversed(VALIDATION_FILES.items())))
    write_devkit(root / "ILSVRC2012_devkit_t12.tar.gz")


def write_folders(root: Path) -> None:
    """Write the images of the archives into one folder per class."""
    for number, wordnet_id in VALIDATION.items():
        path = root / "val" / wordnet_id / f"ILSVRC2012_val_{number:08d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(VALIDATION_FILES[path.name])
    for name, content in TRAIN_FILES.items():
        path = root / "train" / name.partition("_")[0] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
