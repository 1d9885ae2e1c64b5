"""The README's table is that of the records beside it."""

from benchmarks.readme_table import README, RECORDS, results_block, with_table


def test_the_readme_shows_what_the_records_say() -> None:
    text = README.read_text(encoding="utf-8")
    assert results_block(RECORDS) in text
    assert with_table(text) == text


def test_nothing_of_a_machine_is_in_the_records() -> None:
    for path in RECORDS.iterdir():
        if path.suffix in (".json", ".jsonl", ".html"):
            text = path.read_text(encoding="utf-8")
            assert "/home/" not in text
            assert "/root/" not in text
            assert "/tmp/" not in text
