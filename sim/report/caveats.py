"""What a reader of a run's figures must know: which test clips are not new to the student."""

from collections.abc import Sequence

from fl.data.clips import Clip


def leak_caveats(training: Sequence[Clip], test: Sequence[Clip]) -> list[str]:
    """Sentences on videos and people that occur both in training and in the test; none if nobody does.

    Args:
        training: the clips of the server's and the clients' splits.
        test: the clips of the test split.
    """
    sources = {clip.source for clip in training}
    people = {name for clip in training for name in (clip.identity, clip.donor) if name}
    same_video = sum(clip.source in sources for clip in test)
    same_person = sum(clip.identity in people or clip.donor in people for clip in test)
    said = []
    if same_video:
        said.append(f"LEAK: the source video of {same_video} of {len(test)} test clips was trained on")
    elif same_person:
        said.append(f"the person in {same_person} of {len(test)} test clips was seen in training as well")
    return said
