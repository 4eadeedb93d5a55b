"""Images: a damaged file is reported with its reason, an intact one opens as a viewer shows it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptinf import images
from adaptinf.errors import DataError
from adaptinf.images import contents, conversion, jpeg, opening, pixel_ranges

RNG = np.random.default_rng(0)


def noise(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tiff", "a.ppm"])
def test_a_sound_image_of_any_common_format_has_no_problem_and_opens_in_rgb(tmp_path: Path, name: str) -> None:
    noise().save(tmp_path / name)
    assert images.image_problem(tmp_path / name) is None
    image = images.open_image(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (96, 64))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "progressive.jpg"])
def test_a_truncated_image_is_found_by_both(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise().save(path, **({"progressive": True} if "progressive" in name else {}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert images.image_problem(path) is not None
    with pytest.raises(DataError, match=name):
        images.open_image(path)


def test_missing_empty_and_foreign_files_have_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("<html>404</html>")
    (tmp_path / "folder.png").mkdir()
    assert images.image_problem(tmp_path / "none.png") == "is missing"
    assert images.image_problem(tmp_path / "empty.png") == "is empty (0 bytes)"
    assert images.image_problem(tmp_path / "folder.png") == "is not a file"
    assert images.image_problem(tmp_path / "text.png") == (
        "is a web page, not an image of pixels; download the image again"
    )
    for name in ("none.png", "empty.png", "folder.png", "text.png"):
        with pytest.raises(DataError, match=name):
            images.open_image(tmp_path / name)


def test_a_postscript_file_is_not_handed_to_another_program(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.eps")
    assert (images.image_problem(tmp_path / "a.eps") or "").startswith("is a PostScript document, not an image")


def test_a_huge_image_is_refused_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.png")
    monkeypatch.setattr(opening, "MAX_PIXELS", 6000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert "too large: 96 x 64" in (images.image_problem(tmp_path / "a.png") or "")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert "too large: 96 x 64" in (images.image_problem(tmp_path / "a.png") or "")
    monkeypatch.setattr(opening, "MAX_PIXELS", 7000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert images.image_problem(tmp_path / "a.png") is None


def test_an_image_is_opened_from_its_path_or_its_bytes_up_to_a_number_of_pixels(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    pixels = images.open_image(tmp_path / "a.png").tobytes()
    for source in (content, str(tmp_path / "a.png")):
        assert images.open_image(source, max_pixels=96 * 64).tobytes() == pixels
        with pytest.raises(DataError, match="is too large: 96 x 64 pixels, at most 6,143 are read"):
            images.open_image(source, max_pixels=96 * 64 - 1)
    with pytest.raises(DataError, match=r"image of 4 bytes cannot be decoded \(unknown format\)"):
        images.open_image(b"text")


def test_transparency_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "rgba.png")
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "la.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(tmp_path / "p.png", transparency=1)
    for name in ("rgba.png", "la.png", "p.png"):
        assert images.open_image(tmp_path / name).getpixel((1, 1)) == (255, 255, 255), name


def test_a_half_transparent_pixel_is_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert images.open_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 127, 127)


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    image = images.open_image(tmp_path / "a.png")
    assert [image.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_cmyk_and_one_bit_images_become_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "cmyk.jpg")
    Image.new("1", (8, 8), 1).save(tmp_path / "bit.png")
    for name in ("cmyk.jpg", "bit.png"):
        assert images.open_image(tmp_path / name).getpixel((4, 4)) == (255, 255, 255), name


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert images.open_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


def test_an_image_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(tmp_path / "a.jpg", exif=exif)
    assert images.open_image(tmp_path / "a.jpg").size == (64, 96)


def test_damaged_exif_does_not_cost_the_image(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert images.image_problem(tmp_path / "a.jpg") is None
    assert images.open_image(tmp_path / "a.jpg").size == (96, 64)


def test_damaged_bytes_anywhere_never_raise_from_check_and_only_our_error_from_open(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.gif", "a.webp", "a.tiff", "a.bmp"):
        path = tmp_path / name
        noise().resize((12, 8)).save(path)
        sound = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        for _ in range(40):
            damaged = sound.copy()
            damaged[RNG.integers(0, len(damaged), 6)] = RNG.integers(0, 256, 6)
            path.write_bytes(damaged.tobytes())
            if images.image_problem(path) is None:
                images.open_image(path)
            else:
                with pytest.raises(DataError):
                    images.open_image(path)


def whole(image: Image.Image) -> Image.Image:
    """Return an 8-bit image on white, converted in one piece."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "PA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"])
@pytest.mark.parametrize("transparency", [None, 3])
def test_an_image_that_is_converted_in_strips_is_that_of_one_piece(
    monkeypatch: pytest.MonkeyPatch, mode: str, transparency: int | None
) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (64, 96, 4), dtype=np.uint8))
    image = (image.convert("P") if mode == "PA" else image.convert("RGB") if mode == "LAB" else image).convert(mode)
    if transparency is not None and mode in ("P", "L", "1", "RGB"):
        image.info["transparency"] = (transparency,) * 3 if mode == "RGB" else transparency
    expected = whole(image).tobytes()
    for pixels in (1, 96 * 7, 96 * 64):
        monkeypatch.setattr(pixel_ranges, "STRIP_PIXELS", pixels)
        assert conversion.to_rgb(image, None).tobytes() == expected


@pytest.mark.parametrize("values", [np.uint16, np.int32, np.float32])
def test_an_image_of_more_than_eight_bits_is_the_same_in_strips(monkeypatch: pytest.MonkeyPatch, values: type) -> None:
    numbers = RNG.integers(0, 60000, (64, 96)).astype(values)
    if values is np.float32:
        numbers[3, 4], numbers[60, 5] = np.nan, -np.inf
    image = Image.fromarray(numbers)
    found = set()
    for pixels in (96 * 64, 96 * 7, 1):
        monkeypatch.setattr(pixel_ranges, "STRIP_PIXELS", pixels)
        found.add(conversion.to_rgb(image, None).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize(
    ("limit", "size", "options"),
    [
        (6144, (96, 64), {}),
        (6143, (48, 32), {"progressive": True}),
        (1536, (48, 32), {}),
        (1535, (24, 16), {"progressive": True}),
        (96, (12, 8), {}),
    ],
)
def test_a_jpeg_of_too_many_pixels_is_decoded_smaller_wherever_it_is_used(
    tmp_path: Path, limit: int, size: tuple[int, int], options: dict[str, bool]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    noise().save(path, exif=exif, **options)
    found = images.examine(path, max_pixels=limit)
    scale = 96 // size[0]
    note = None if scale == 1 else f"of 96 x 64 pixels is decoded at 1/{scale} of its width and height"
    assert found == (None, None, scale, note)
    stored = images.StoredImage(path, found.reduction)
    pixels = stored.open()
    assert pixels.size == stored.size() == size[::-1]
    for source in (path, path.read_bytes()):
        assert images.open_image(source, max_pixels=limit).tobytes() == pixels.tobytes()
    with pytest.raises(DataError, match="is too large: 96 x 64 pixels, at most 95 are read"):
        images.open_image(path, max_pixels=95)
    assert "is too large" in str(images.image_problem(path, max_pixels=95))


def test_a_jpeg_of_more_pixels_than_pillow_opens_is_decoded_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    noise().save(tmp_path / "a.jpg")
    assert images.examine(tmp_path / "a.jpg", max_pixels=2000).reduction == 2
    assert images.open_image((tmp_path / "a.jpg").read_bytes(), max_pixels=2000).size == (48, 32)
    noise().save(tmp_path / "a.png")
    assert images.image_problem(tmp_path / "a.png", max_pixels=2000) == (
        "is too large: 96 x 64 pixels, at most 2,000 are read"
    )


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_an_icon_is_as_large_as_the_image_inside_of_it(tmp_path: Path, suffix: str) -> None:
    image = noise("RGBA")
    if suffix == "png":
        image.save(tmp_path / "inner.png")
        inner = (tmp_path / "inner.png").read_bytes()
    else:
        image.save(tmp_path / "a.ico", sizes=[image.size], bitmap_format="bmp")
        inner = (tmp_path / "a.ico").read_bytes()[22:]
    # One image, which the directory calls 16 x 16.
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    (tmp_path / "a.ico").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + inner)
    assert images.open_image(tmp_path / "a.ico", max_pixels=6144).size == (96, 64)
    assert images.image_problem(tmp_path / "a.ico", max_pixels=6143) == (
        "is too large: 96 x 64 pixels, at most 6,143 are read"
    )


def test_a_tiff_with_tiles_that_are_larger_than_it_is_refused(tmp_path: Path) -> None:
    # 96 x 64 pixels of 8 bits, not compressed, in one tile of 112 x 160.
    tags = {256: 96, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 322: 112, 323: 160, 324: 200, 325: 112 * 160}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(content.ljust(200, b"\0") + bytes(112 * 160))
    problem = images.image_problem(tmp_path / "a.tif", max_pixels=6144)
    assert problem == "is too large: its tiles have 112 x 160 pixels, at most 6,144 are read"
    assert images.image_problem(tmp_path / "a.tif", max_pixels=112 * 160) is None


def test_what_the_coefficients_of_a_jpeg_take_is_limited(tmp_path: Path) -> None:
    for mode, subsampling, num_bytes in (("RGB", 0, 6), ("RGB", 2, 3), ("L", 0, 2), ("CMYK", 0, 8)):
        for options in ({}, {"progressive": True}):
            noise(mode).save(tmp_path / "a.jpg", subsampling=subsampling, **options)
            with Image.open(tmp_path / "a.jpg") as image:
                assert jpeg.coefficient_bytes(image) == (96 * 64 * num_bytes if options else 0)
    noise().save(tmp_path / "a.jpg", subsampling=0, progressive=True)
    assert images.image_problem(tmp_path / "a.jpg", max_pixels=2400) is None
    problem = str(images.image_problem(tmp_path / "a.jpg", max_pixels=2000))
    assert (
        "96 x 64 pixels in several passes (progressive), which take 36,864 bytes to decode, at most 32,000" in problem
    )
    noise().save(tmp_path / "a.jpg", subsampling=0)
    assert images.image_problem(tmp_path / "a.jpg", max_pixels=2000) is None


RAMP = np.tile(np.linspace(0, 1, 64), (4, 1))


def with_sbit(path: Path, bits: int) -> None:
    """Put the chunk that names the significant bits behind the header of a PNG."""
    content = path.read_bytes()
    chunk = b"sBIT" + bytes([bits])
    whole = (1).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    path.write_bytes(content[:33] + whole + content[33:])


def grey_values(path: Path) -> np.ndarray:
    return np.asarray(images.open_image(path))[0, :, 0]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("full.png", (RAMP * 65535).astype(np.uint16), "16 bits in 16"),
        ("xray.png", (RAMP * 4095).astype(np.uint16), "12 bits in 16"),
        ("mm.tif", (RAMP * 16000).astype(np.uint16), "14 bits in 16"),
        ("eight.png", (RAMP * 255).astype(np.uint16), "values from 0 to 255"),
        ("mask.png", RAMP.round().astype(np.uint16), "values from 0 to 1"),
        ("unit.tif", RAMP.astype(np.float32), "values from 0 to 1"),
        ("grey.tif", (RAMP * 255).astype(np.float32), "values from 0 to 255"),
        ("metres.tif", (RAMP * 900 - 100).astype(np.float32), "smallest to largest value of each image"),
        ("wide.tif", (RAMP * 4095).astype(np.int32), "12 bits in 16"),
        ("negative.tif", (RAMP * 4000 - 2000).astype(np.int32), "smallest to largest value of each image"),
    ],
)
def test_more_than_eight_bits_are_scaled_by_the_range_of_the_file(
    tmp_path: Path, name: str, values: np.ndarray, kind: str
) -> None:
    Image.fromarray(values).save(tmp_path / name)
    assert images.examine(tmp_path / name)[:2] == (None, kind)
    shown = grey_values(tmp_path / name)
    assert (shown.min(), shown.max()) == (0, 255) or kind.startswith("14")
    expected = RAMP[0].round() if name == "mask.png" else RAMP[0]
    scale = 16000 / 16383 if kind.startswith("14") else 1.0
    assert np.abs(shown - 255 * scale * expected).max() <= 1


def test_the_significant_bits_that_a_file_names_are_used_if_they_hold_its_values(tmp_path: Path) -> None:
    dark = (RAMP * 1000).astype(np.uint16)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    assert images.examine(tmp_path / "dark.png").scaling == "10 bits in 16"
    with_sbit(tmp_path / "dark.png", 12)
    assert images.examine(tmp_path / "dark.png").scaling == "12 bits in 16"
    assert grey_values(tmp_path / "dark.png").max() == round(1000 / 4095 * 255)
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(tmp_path / "full.png")
    with_sbit(tmp_path / "full.png", 12)
    assert images.examine(tmp_path / "full.png").scaling == "16 bits in 16"
    Image.fromarray(dark).save(tmp_path / "dark.tif", tiffinfo={281: 4095})
    assert images.examine(tmp_path / "dark.tif").scaling == "12 bits in 16"


def test_values_that_are_no_numbers_do_not_change_the_range(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[:, 3], values[:, 4], values[:, 5] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "a.tif")
    shown = grey_values(tmp_path / "a.tif")
    assert shown[3:6].tolist() == [0, 255, 0] and shown[-1] == 255 and shown[32] == round(255 * RAMP[0, 32])
    Image.fromarray(np.full((2, 2), np.nan, np.float32)).save(tmp_path / "b.tif")
    assert images.open_image(tmp_path / "b.tif").getpixel((0, 0)) == (0, 0, 0)


def test_images_of_eight_bits_have_no_scaling(tmp_path: Path) -> None:
    for mode, name in [("RGB", "a.jpg"), ("L", "l.png"), ("P", "p.png"), ("CMYK", "c.jpg"), ("1", "one.png")]:
        noise(mode).save(tmp_path / name)
        assert images.examine(tmp_path / name)[:2] == (None, None), name


@pytest.mark.parametrize("size", [(1, 1), (300, 300)])
def test_very_small_and_square_images_open(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("I;16", size, 4000).save(tmp_path / "a.png")
    assert images.open_image(tmp_path / "a.png").size == size
    assert images.examine(tmp_path / "a.png").problem is None


def test_a_picture_of_several_frames_and_one_with_the_wrong_suffix_open(tmp_path: Path) -> None:
    frames = [noise(), noise()]
    frames[0].save(tmp_path / "a.mpo", format="MPO", save_all=True, append_images=frames[1:])
    assert images.examine(tmp_path / "a.mpo")[:2] == (None, None)
    assert images.open_image(tmp_path / "a.mpo").size == (96, 64)
    noise().save(tmp_path / "a.jpg", format="PNG")
    assert images.open_image(tmp_path / "a.jpg").size == (96, 64)


def test_the_limit_of_pixels_is_forty_million_unless_set(tmp_path: Path) -> None:
    Image.new("1", (8000, 5001)).save(tmp_path / "a.png")
    assert "is too large: 8000 x 5001 pixels, at most 40,000,000 are read" in str(
        images.image_problem(tmp_path / "a.png")
    )
    assert images.image_problem(tmp_path / "a.png", max_pixels=50_000_000) is None
    with pytest.raises(DataError, match="is too large"):
        images.open_image(tmp_path / "a.png")
    assert images.open_stored(tmp_path / "a.png").size == (8000, 5001)


def test_an_image_of_a_sample_is_opened_whichever_kind_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (5, 4), "red").save(path)
    content = path.read_bytes()
    opened = [images.open_image(source) for source in (path, str(path), content, contents.ImageContent.of(content))]
    assert {(image.size, image.getpixel((0, 0))) for image in opened} == {((5, 4), (255, 0, 0))}
