import pytest

from proto_model.cli import image


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of --out FILE and --context DIR"),
        (["--out", "a", "--context", "b"], "give one of"),
        (["--out", "a", "--push"], "--push needs"),
        (["--context", "a", "--push", "-t", "a:b"], "--push needs"),
        (["--out", "a", "--server", "nginx"], "there is no"),
    ],
)
def test_wrong_arguments_end_with_two(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        image.main(arguments)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_missing_model_is_an_error_in_words(tmp_path, capsys):
    assert image.main(["-m", str(tmp_path / "none"), "--out", str(tmp_path / "image.tar")]) == 2

    assert "There is no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_mmdebstrap_the_error_says_what_to_do(tmp_path, monkeypatch, capsys):
    from proto_model.deployment.image import rootfs

    monkeypatch.setattr(rootfs.shutil, "which", lambda name: None)

    with pytest.raises(rootfs.ImageError, match=r"apt-get install mmdebstrap.*--context DIR"):
        rootfs.unpack_root(rootfs.RELEASES[0], "amd64", "", tmp_path / "root")
