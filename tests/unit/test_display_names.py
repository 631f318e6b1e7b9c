"""A class with a name of its own on its way into a workspace: keys on disk, its name where people read."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from evernorm.data.validate import validate
from evernorm.errors import DataError
from tasks.inbox.arrivals import begin, check_delivery, fetch_delivery, look_into, place, refuse
from tasks.inbox.delivery import pack
from tasks.inbox.inbox import DeliveryManifest
from tasks.stages.stage import result_params
from tasks.workspace.data import bring_in
from tasks.workspace.workspace import Workspace

BLISTER, KEY = "Blister Ø5 mm", "Blister-5-mm"


@pytest.fixture
def photos(tmp_path, draw_photos):
    """A folder with one class of that name."""
    root = draw_photos(tmp_path / "photos", names=("cloth",), train=5, good=1, defective=1)
    (root / "cloth").rename(root / BLISTER)
    return root


@pytest.fixture
def workspace(tmp_path):
    """An empty workspace, in which only images are versioned."""
    made = Workspace.open_or_create(tmp_path / "w")
    (made.root / "dvc.yaml").write_text("stages: {}\n")
    return made


def test_a_class_is_brought_in_under_its_key(workspace, photos):
    """And found again by either name."""
    assert bring_in(workspace, photos, validate(photos, [KEY])) == [KEY]
    assert (workspace.root / f"data/{KEY}/train/good/000.png").is_file()
    workspace.configure(order=[KEY])
    assert workspace.display(KEY) == BLISTER
    assert workspace.key(BLISTER) == workspace.key(KEY) == KEY
    assert (workspace.display("cable"), workspace.key("cable")) == ("cable", "cable")
    assert bring_in(workspace, photos, validate(photos, [KEY])) == []


def test_another_product_does_not_take_the_place_of_one_with_the_same_key(workspace, photos):
    """Told by both names, before anything is changed."""
    bring_in(workspace, photos, validate(photos, [KEY]))
    (photos / BLISTER).rename(photos / "Blister 5 mm")
    with pytest.raises(DataError) as error:
        bring_in(workspace, photos, validate(photos, [KEY]))
    assert error.value.faults == (
        f"'Blister 5 mm' and {BLISTER!r}, which is there, give the same key, {KEY}; rename it",
    )
    assert workspace.display(KEY) == BLISTER
    assert (workspace.root / f"data/{KEY}.dvc").is_file()


def test_a_delivery_carries_the_name(workspace, photos, tmp_path):
    """Packed under the key, taken in under the key, shown by its name; also after it was fetched by another."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    workspace.configure([f"watch.inbox={json.dumps(str(inbox))}"])
    shutil.copytree(photos / BLISTER, photos / KEY)
    (photos / BLISTER).rename(tmp_path / BLISTER)

    pack(photos / KEY, str(inbox))
    assert b"display" not in (inbox / KEY / "manifest.json").read_bytes()
    (delivery,) = look_into.fn(workspace)[0]
    assert fetch_delivery.fn(workspace, delivery) == []

    assert pack(tmp_path / BLISTER, str(inbox)).there == 8
    (delivery,), refusals = look_into.fn(workspace)
    assert (delivery.name, delivery.manifest.display, refusals) == (KEY, BLISTER, [])
    assert fetch_delivery.fn(workspace, delivery) == []
    manifest = check_delivery(workspace, delivery)
    place(workspace, begin(workspace, delivery, manifest), manifest)
    assert workspace.params.order == (KEY,)
    assert workspace.display(KEY) == BLISTER


def test_a_delivery_does_not_take_the_place_of_another_product(workspace, photos, tmp_path):
    """It is refused as unfit before anything is changed."""
    bring_in(workspace, photos, validate(photos, [KEY]))
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    workspace.configure([f"watch.inbox={json.dumps(str(inbox))}"])
    (photos / BLISTER).rename(photos / "Blister 5 mm")
    pack(photos / "Blister 5 mm", str(inbox))
    (delivery,) = look_into.fn(workspace)[0]
    assert fetch_delivery.fn(workspace, delivery) == []
    with pytest.raises(DataError, match="cannot be told from those in the workspace"):
        check_delivery(workspace, delivery)


def test_a_delivery_is_read_with_the_bit_depth_of_the_parameters(workspace, photos, tmp_path, capsys):
    """Told where it is not named; refused where it is too small, until it is changed."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for path in (photos / BLISTER).glob("t*/*/*.png"):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(grey << 4).save(path)
    pack(photos / BLISTER, str(inbox))
    workspace.configure([f"watch.inbox={json.dumps(str(inbox))}"])
    (delivery,) = look_into.fn(workspace)[0]
    assert fetch_delivery.fn(workspace, delivery) == []
    assert check_delivery(workspace, delivery).bit_depth == 16
    assert "of 256 levels" in capsys.readouterr().err

    others = result_params(workspace.params)
    workspace.configure([f"data.bit_depth_of.{KEY}=10"])
    assert others == result_params(workspace.params)  # no other class is changed by it
    with pytest.raises(DataError) as error:
        check_delivery(workspace, delivery)
    refuse(workspace, KEY, delivery.digest, error.value)
    assert look_into.fn(workspace)[0] == []
    workspace.configure([f"data.bit_depth_of.{KEY}=12"])
    (delivery,) = look_into.fn(workspace)[0]
    assert fetch_delivery.fn(workspace, delivery) == []
    assert check_delivery(workspace, delivery).bit_depth == 12
    assert "of 256 levels" not in capsys.readouterr().err


@pytest.mark.parametrize("display", ["Other", "../Blister 5 mm", "Blister\u202e 5 mm", ".Blister 5 mm"])
def test_a_delivery_with_a_name_of_another_key_is_refused(display):
    """A name from a delivery becomes the name of a folder here."""
    file = {"path": "good/0.png", "sha256": "0" * 64, "size": 1}
    content = {"schema_version": 1, "name": KEY, "display": display, "files": [file]}
    with pytest.raises(DataError) as error:
        DeliveryManifest.parse(json.dumps(content).encode())
    assert len(error.value.faults) == 1
