import pytest
from small_shards import FACE, REAL, shard

from fl.errors import RequestError
from sim.prepare import check_something_is_left


def test_clients_without_pictures_need_clips_with_sound():
    silent = shard([REAL, FACE, FACE], has_audio=[1, 0, 0])
    with pytest.raises(RequestError, match=r"partition\.missing_modality=video .* 2 of 3 have none"):
        check_something_is_left(silent, ("", "video"))
    check_something_is_left(silent, ("", "audio"))
    check_something_is_left(shard([REAL, FACE]), ("", "video"))
