"""Takes photographs out of the wheels of scikit-image, scikit-learn, matplotlib: python sample_photos.py WHEELS TO"""

import shutil
import sys
import zipfile
from pathlib import Path

#: File names of photographs (the packages carry test patterns and microscopy too).
PHOTOS = {
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "china.jpg",
    "flower.jpg",
    "grace_hopper.jpg",
}


def main(wheels: Path, target: Path) -> None:
    """Copy them."""
    target.mkdir(parents=True, exist_ok=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                base = name.rpartition("/")[2]
                if base in PHOTOS:
                    with archive.open(name) as source, open(target / base, "wb") as out:
                        shutil.copyfileobj(source, out)
    found = sorted(path.name for path in target.iterdir())
    print(f"{len(found)} photographs in {target}: {', '.join(found)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
