import pytest

from fl.data.corpora.table import read
from fl.errors import DataError, RequestError
from fl.settings import TableSettings

CLIPS = TableSettings()


def write(root, text):
    (root / "clips.csv").write_bytes(text.encode())
    return root


def test_every_column(tmp_path):
    text = (
        "\ufeffPath, Label,category,identity,source,donor,split,quality,remark\r\n"
        'a.mp4,real,original,ann,s1,,train,h264,"one, two"\r\n'
        "\r\n"
        "sub/b.png,FAKE,FaceSwap,ann,s1,bob,val,h264,\r\n"
    )
    real, fake = read(write(tmp_path, text), CLIPS)
    assert (real.label, real.category, real.identity, real.source, real.split) == (
        0,
        "real",
        "ann",
        "s1",
        "train",
    )
    assert (fake.label, fake.category, fake.donor, fake.split) == (1, "FaceSwap", "bob", "validation")
    assert fake.path == tmp_path / "sub/b.png"
    assert (fake.num_frames, real.num_frames) == (1, 0)
    assert {real.quality, fake.quality} == {"h264"}


def test_path_and_label_are_enough(tmp_path):
    clips = read(write(tmp_path, "label,path\n1,./a.mp4\n0,b.mp4\n"), CLIPS)
    assert [(clip.label, clip.category, clip.identity, clip.source, clip.split) for clip in clips] == [
        (1, "Fake", "a.mp4", "a.mp4", ""),
        (0, "real", "b.mp4", "b.mp4", ""),
    ]


def test_a_source_stands_for_its_identity(tmp_path):
    clips = read(write(tmp_path, "path,label,source\na.mp4,1,s\nb.mp4,0,s\n"), CLIPS)
    assert [clip.identity for clip in clips] == ["s", "s"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,lable\na.mp4,1\n", "one column 'label' in its first line, got 'path, lable'"),
        ("path,label,label\na.mp4,1,1\n", "one column 'label'"),
        ("", "one column 'path'"),
        ("path,label\n", "at least one row"),
        ("path,label\na.mp4,1\nb.mp4,2\n", r"line 3 of clips\.csv, column label: .* got '2'"),
        ("path,label\na.mp4,\n", r"line 2 of clips\.csv, column label: .* got ''"),
        ("path,label\n,1\n", r"line 2 of clips\.csv, column path"),
        ("path,label\n../a.mp4,1\n", r"outside.*line 2 of clips\.csv, column path"),
        ("path,label\n/etc/passwd,1\n", r"outside.*line 2 of clips\.csv, column path"),
        ("path,label\na.mp4,1\n./a.mp4,0\n", r"line 3 of clips\.csv, column path: .* in line 2 already"),
        ("path,label,split\na.mp4,1,holdout\n", r"line 2 of clips\.csv, column split: .* got 'holdout'"),
        ("path,label,category\na.mp4,1,real\n", r"line 2 of clips\.csv, column category"),
        ("path,label\na.mp4\n", r"line 2 of clips\.csv must have 2 columns"),
        ("path,label\na,b.mp4,1\n", r"line 2 of clips\.csv must have 2 columns"),
        ('path,label\n"a.mp4,1\n', r"line 2 of clips\.csv is not valid CSV"),
    ],
)
def test_errors_name_line_and_column(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, text), CLIPS)


def test_no_such_table(tmp_path):
    with pytest.raises(RequestError, match=r"data\.table\.file .* 'mine\.csv'"):
        read(tmp_path, TableSettings(file="mine.csv"))
