"""Where CIFAR-10 and CIFAR-100 are published, what their files are, and where these lie; never imports torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Archive:
    """Where a data set is published and what its files are.

    Attributes:
        title: name for people.
        folder: top folder of the archive.
        url, md5: of the archive.
        train, test, meta: file names and their MD5 sums.
        label_key: of the labels in the training and test files.
        names_key: of the class names in the meta file.
    """

    title: str
    folder: str
    url: str
    md5: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    label_key: str
    names_key: str

    @property
    def files(self) -> dict[str, str]:
        """All files and their MD5 sums."""
        return {**self.train, **self.test, **self.meta}

    def find(self, root: str) -> Path | None:
        """The folder with the files: `root`, or the archive's folder in it; None if they are in neither."""
        place = Path(root)
        for candidate in (place / self.folder, place):
            # Unlike Path.is_file, this is False and no error where the folder must not be looked into.
            if any(os.path.isfile(candidate / name) for name in self.files):
                return candidate
        return None

    def not_there(self, root: str, why: str = "dataset.download is false") -> str:
        """The sentence for the user whose files are not found, and what helps."""
        return (
            f"{self.title} is not in {root} and {why}: unpack {self.url} there, which makes "
            f"{self.folder}/, or set dataset.root."
        )


CIFAR100 = Archive(
    title="CIFAR-100",
    folder="cifar-100-python",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
    label_key="fine_labels",
    names_key="fine_label_names",
)

CIFAR10 = Archive(
    title="CIFAR-10",
    folder="cifar-10-batches-py",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
    label_key="labels",
    names_key="label_names",
)

ARCHIVES = {"cifar10": CIFAR10, "cifar100": CIFAR100}
"""By the name of the data set."""
