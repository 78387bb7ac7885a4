"""Towers: FG-CLIP equal to transformers on both of its text paths, sentence models, the small trainable one."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection

from poma3d.errors import FileError, MissingDependencyError, SettingError
from poma3d.towers import ImageTower, TextTower
from poma3d.towers.fgclip import LONG, SHORT, FgClipImage, FgClipText
from poma3d.towers.mini_text import MiniText, MiniTextConfig
from poma3d.towers.sentence import SentenceText
from poma3d.towers.vocabulary import BEGIN, END, Vocabulary, split_words

TEXTS = ["a chair by the window", "the kitchen", "a table, two chairs and a lamp"]

# FG-CLIP: a small model in the files and the key names of the published one


@pytest.fixture(scope="module")
def fgclip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fg-clip")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [","]
    tokens = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, **ends, "vocab_size": len(tokens)},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    torch.manual_seed(0)
    state = CLIPModel(config).state_dict()
    state["text_filip_projection.weight"] = torch.randn(24, 32)
    for table in ("ori", "res"):
        state[f"text_model.embeddings.position_embedding_{table}.weight"] = torch.randn(248, 32)
    state["logit_scale_hardneg"] = torch.tensor(2.6)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("long", [False, True])
def test_fgclip_text_equals_transformers_clip_with_its_positions(fgclip_folder: Path, long: bool) -> None:
    """CLIP's own text model, given the position table and the projection of that path, must say the same."""
    tower = FgClipText.load(fgclip_folder)
    state = load_file(fgclip_folder / "model.safetensors")
    embeddings = "text_model.embeddings.position_embedding"
    config = CLIPConfig.from_pretrained(fgclip_folder).text_config
    config.projection_dim = 24
    if long:
        tables = (state[f"{embeddings}_ori.weight"][:20], state[f"{embeddings}_res.weight"][20:])
        state[f"{embeddings}.weight"] = torch.cat(tables)
        state["text_projection.weight"] = state["text_filip_projection.weight"]
        config.max_position_embeddings = LONG
    theirs = CLIPTextModelWithProjection(config).eval()
    theirs.load_state_dict({name: state[name] for name in theirs.state_dict()})
    length = LONG if long else SHORT
    texts = [*TEXTS, "very long " * 60]
    ids = tower.tokenizer(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )["input_ids"]
    assert ids.shape == (4, length)
    with torch.no_grad():
        expected = theirs(input_ids=ids).text_embeds
    assert torch.allclose(tower.get_text_features(ids, walk_short_pos=not long), expected, atol=1e-5)
    assert torch.allclose(tower.encode(texts, long=long, batch=3), expected, atol=1e-5)
    assert not torch.allclose(tower.encode(texts, long=not long), expected, atol=1e-2)


def test_fgclip_towers_keep_the_contract(fgclip_folder: Path) -> None:
    text, image = FgClipText.load(fgclip_folder), FgClipImage.load(fgclip_folder)
    assert isinstance(text, TextTower)
    assert isinstance(image, ImageTower)
    assert text.embedding == image.embedding == 24
    assert text.encode([]).shape == (0, 24)
    assert image.encode(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 24)
    assert not any(p.requires_grad for tower in (text, image) for p in tower.parameters())
    assert text.weights_sha256() == FgClipText.load(fgclip_folder).weights_sha256()
    assert text.weights_sha256() != image.weights_sha256()
    with pytest.raises(SettingError, match="one text"):
        text.encode("a chair")
    with pytest.raises(SettingError, match="text 1 is a int"):
        text.encode(["a chair", 3])  # pyright: ignore
    with pytest.raises(SettingError, match="300 tokens"):
        text.get_text_features(torch.zeros(1, 300, dtype=torch.int64), walk_short_pos=False)


def test_fgclip_image_is_clip_on_normalised_pictures(fgclip_folder: Path) -> None:
    image = FgClipImage.load(fgclip_folder)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    clip = CLIPModel.from_pretrained(fgclip_folder).eval()
    mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    pixels = (
        torch.as_tensor(pictures).movedim(-1, 1) / 255 - torch.tensor(mean)[:, None, None]
    ) / torch.tensor(deviation)[:, None, None]
    with torch.no_grad():
        expected = clip.get_image_features(pixel_values=pixels).pooler_output
    assert torch.allclose(image.encode(pictures, batch=2), expected, atol=1e-5)
    assert torch.allclose(image.encode(pictures.astype(np.float32) / 255), expected, atol=1e-5)


def test_fgclip_image_takes_any_size_and_refuses_what_is_no_picture(fgclip_folder: Path) -> None:
    image = FgClipImage.load(fgclip_folder)
    even = torch.full((1, 47, 90, 3), 0.5)
    assert torch.allclose(image.encode(even), image.encode(torch.full((1, 32, 32, 3), 0.5)), atol=1e-4)
    for wrong, says in [
        (torch.zeros(1, 3, 32, 32), r"found \(1, 3, 32, 32\)"),
        (torch.full((1, 32, 32, 3), 255.0), "as uint8"),
        (torch.full((1, 32, 32, 3), torch.nan), r"\[0, 1\]"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.int64), "int64"),
    ]:
        with pytest.raises(SettingError, match=says):
            image.encode(wrong)


def test_fgclip_files_that_are_not_whole_are_named(fgclip_folder: Path, tmp_path: Path) -> None:
    def copy(*names: str, **changed: Any) -> Path:
        folder = tmp_path / f"case{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((fgclip_folder / name).read_bytes())
        if changed:
            state = load_file(fgclip_folder / "model.safetensors")
            save_file(
                {k: v for k, v in state.items() if k != changed["without"]}, folder / "model.safetensors"
            )
        return folder

    files = ("config.json", "model.safetensors")
    with pytest.raises(FileError, match=r"vocab\.json and merges\.txt"):
        FgClipText.load(copy(*files))
    with pytest.raises(FileError, match="holds no weights"):
        FgClipText.load(copy("config.json", "vocab.json", "merges.txt"))
    with pytest.raises(FileError, match=r"config\.json"):
        FgClipText.load(copy("model.safetensors", "vocab.json", "merges.txt"))
    with pytest.raises(FileError, match=r"missing \(1\): text_filip_projection\.weight"):
        FgClipText.load(
            copy("config.json", "vocab.json", "merges.txt", without="text_filip_projection.weight")
        )


# sentence-transformers


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match="pip install sentence-transformers"):
        SentenceText("any/model")


def test_a_missing_sentence_model_says_which_files_to_put(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network\nand a long explanation")

    monkeypatch.setitem(
        sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=offline)
    )
    with pytest.raises(FileError, match=r"any/model: .*\(no network\).*modules\.json"):
        SentenceText("any/model")


def test_a_real_sentence_model_keeps_the_contract(tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "chair", "room"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=7, **sizes)).save_pretrained(tmp_path / "bert")
    package.SentenceTransformer(str(tmp_path / "bert")).save(str(tmp_path / "st"))
    tower = SentenceText(tmp_path / "st")
    assert isinstance(tower, TextTower)
    assert tower.encode(["a chair", "a room"]).shape == (2, tower.embedding) == (2, 16)
    assert tower.encode([]).shape == (0, 16)
    assert tower.encode(["a chair"]).dtype == torch.float32
    assert tower.weights_sha256() == SentenceText(tmp_path / "st").weights_sha256()


# The vocabulary


def test_the_vocabulary_is_the_most_frequent_words_in_a_fixed_order() -> None:
    texts = ["The chair, the TABLE", "chair; lamp", "the lamp"]
    built = Vocabulary.build(texts)
    assert built.words == ("the", "chair", "lamp")
    assert Vocabulary.build(reversed(texts)).words == built.words
    assert Vocabulary.build(texts, size=1).words == ("the",)
    assert "table" in Vocabulary.build(texts, least=1).words
    assert len(built) == 260 + 3


def test_known_words_are_one_token_and_unknown_ones_are_spelled() -> None:
    vocabulary = Vocabulary(["chair", "the"])
    assert vocabulary.encode("The CHAIR", 77) == [BEGIN, 261, 260, END]
    assert vocabulary.encode("the bé", 77) == [BEGIN, 261, 3, 4 + ord("b"), 4 + 0xC3, 4 + 0xA9, END]
    assert vocabulary.encode("", 77) == [BEGIN, END]
    assert vocabulary.encode("the " * 100, 5) == [BEGIN, 261, 261, 261, END]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_texts_get_the_same_tokens_only_if_they_are_the_same_words(one: str, other: str) -> None:
    vocabulary = Vocabulary.build([one, "the chair"], least=1)
    tokens = [vocabulary.encode(text, 10_000) for text in (one, other)]
    assert all(0 <= token < len(vocabulary) for row in tokens for token in row)
    spelled = [[w.encode("utf-8", errors="replace") for w in split_words(text)] for text in (one, other)]
    assert (tokens[0] == tokens[1]) == (spelled[0] == spelled[1])


@pytest.mark.parametrize("words", [["chair", "chair"], ["two words"], [""], ["Chair"]])
def test_a_broken_vocabulary_is_refused(words: list[str]) -> None:
    with pytest.raises(SettingError):
        Vocabulary(words)


# The small text tower


@pytest.fixture
def mini() -> MiniText:
    return MiniText(Vocabulary.build(TEXTS, least=1)).eval()


def test_padding_and_company_change_nothing(mini: MiniText) -> None:
    together = mini.encode(TEXTS)
    alone = torch.cat([mini.encode([text]) for text in TEXTS])
    assert isinstance(mini, TextTower)
    assert together.shape == (3, 256)
    assert torch.allclose(together, alone, atol=1e-5)
    assert mini.encode([]).shape == (0, 256)
    assert mini.encode([""]).isfinite().all()


def test_word_order_is_heard_and_texts_are_cut_where_their_path_ends(mini: MiniText) -> None:
    one, other = mini.encode(["a chair by the table", "a table by the chair"])
    assert not torch.allclose(one, other, atol=1e-4)
    words = "chair " * 300
    assert mini.tokens([words]).shape == (1, 77)
    assert mini.tokens([words], long=True).shape == (1, 248)
    assert torch.equal(mini.encode(["the chair"]), mini.encode(["the chair"], long=True))


def test_the_small_tower_is_small_and_comes_from_its_seed() -> None:
    vocabulary = Vocabulary([f"w{number}" for number in range(2000)])
    tower = MiniText(vocabulary)
    assert 1e6 < sum(p.numel() for p in tower.parameters()) < 2e6
    assert tower.weights_sha256() == MiniText(vocabulary).weights_sha256()
    assert tower.weights_sha256() != MiniText(vocabulary, seed=1).weights_sha256()


def test_it_learns_to_tell_captions_apart() -> None:
    """A tiny alignment: a phrase never seen, of words that were, must find its room among fixed targets."""
    rooms = ["kitchen", "bath", "bedroom", "office", "hall", "cellar", "attic", "garage"]
    small = MiniTextConfig(embedding=16, width=32, depth=2, heads=2, mlp_width=64)
    phrases = ("a view of the {}", "the {} with a door", "here is a {}", "here is the door of the {}")
    *known, unseen = ([phrase.format(room) for room in rooms] for phrase in phrases)
    tower = MiniText(Vocabulary.build(known[0] + known[1] + known[2], least=1), small)
    targets = functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    labels = torch.arange(8)
    optimiser = torch.optim.AdamW(tower.parameters(), lr=1e-3)

    def logits(captions: list[str]) -> torch.Tensor:
        return 10 * functional.normalize(tower.encode(captions), dim=-1) @ targets.T

    def accuracy() -> float:
        return float((logits(unseen).argmax(1) == labels).float().mean())

    untrained = accuracy()
    for step in range(90):
        optimiser.zero_grad()
        functional.cross_entropy(logits(known[step % 3]), labels).backward()
        optimiser.step()
    assert accuracy() >= 0.75 > 0.5 > untrained


def test_saving_and_loading_the_small_tower_changes_nothing(mini: MiniText, tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    sha = mini.save(path, notes={"seed": 0})
    again = MiniText.load(path)
    assert sha == mini.weights_sha256() == again.weights_sha256()
    assert again.vocabulary.words == mini.vocabulary.words
    assert torch.equal(again.encode(TEXTS), mini.encode(TEXTS))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match="whole safetensors"):
        MiniText.load(path)
    from poma3d.checkpoints import load_encoder, save_encoder
    from poma3d.encoder import PointMapEncoder

    save_encoder(PointMapEncoder("mini"), path)
    with pytest.raises(FileError, match=r"holds poma3d\.encoder/1, expected poma3d\.mini_text/1"):
        MiniText.load(path)
    mini.save(path)
    with pytest.raises(FileError, match=r"holds poma3d\.mini_text/1, expected poma3d\.encoder/1"):
        load_encoder(path)


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(SettingError, match="5 heads"):
        MiniTextConfig(heads=5)
    with pytest.raises(SettingError, match="room for 2 tokens"):
        MiniTextConfig(short=300)
