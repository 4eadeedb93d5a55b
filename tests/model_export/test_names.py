"""What goes into a card that others read: names of the hub, never a path or a secret."""

from __future__ import annotations

import pytest

from adaptinf.model_export.names import data_place, is_repository_name, model_name, public_value


def test_a_hub_name_stays_and_of_a_folder_only_its_name_is_told(tmp_path):
    found = model_name("llava-hf/llava-1.5-7b-hf")
    assert (found.name, found.is_on_hub, found.is_valid) == ("llava-hf/llava-1.5-7b-hf", True, True)
    assert found.link == "[llava-hf/llava-1.5-7b-hf](https://huggingface.co/llava-hf/llava-1.5-7b-hf)"
    folder = tmp_path / "my base"
    folder.mkdir()
    found = model_name(str(folder))
    assert (found.name, found.is_on_hub, found.is_valid, found.link) == ("my base", False, False, "`my base`")
    assert model_name("/home/somebody/gone").name == "gone"


def test_a_folder_of_the_hubs_cache_has_the_name_of_the_hub():
    place = "/home/me/.cache/huggingface/hub/models--owner--some-model/snapshots/0123abc"
    assert model_name(place).name == "owner/some-model" and model_name(place).is_on_hub
    assert not model_name("/home/me/models--owner--some-model").is_on_hub


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [
        ("gpt2", True), ("owner/name-1.5_b", True), ("my base", False), ("/abs/path", False), ("a/b/c", False),
        ("-begin", False), ("end.", False), ("a..b", False), ("a--b", False), ("x.git", False), ("a" * 97, False),
        ("", False), ("a/", False),
    ],
)  # fmt: skip
def test_names_of_the_hub_are_told_from_others_as_the_hub_does(name, is_valid):
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
        taken = True
    except HFValidationError:
        taken = False
    assert is_repository_name(name) == is_valid
    assert taken or not is_valid, "what we take the hub takes as well"


def test_places_of_data_are_told_without_their_path(tmp_path):
    assert data_place("owner/data") == "owner/data"
    assert data_place(str(tmp_path)) == data_place("/home/me/data.json") == data_place("data.json") == "local files"
    assert data_place("s3://bucket/x.parquet") == "files at a remote address"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (True, "yes"), (3, "3"), (2e-4, "0.0002"), ("entropy", "entropy"), ("el2n", "el2n"),
        (["perplexity", "column:rating"], "perplexity, column:rating"), ([], "none"), ("/home/me/ids.txt", "set"),
        ("sk-proj-0123456789", "set"), ("hf_abcDEF123456789", "set"), ("https://host/key", "set"), ({"a": 1}, "set"),
        ("two words", "set"), ("a" * 41, "set"),
    ],
)  # fmt: skip
def test_values_that_may_be_paths_or_secrets_are_not_told(value, text):
    assert public_value(value) == text
