"""Children of a run."""

import pytest

from mlog.azureml.core import Run


def test_a_child_knows_its_parent(run: Run) -> None:
    """`run.parent.log(...)` writes into the parent."""
    with run.child_run(name="child") as child:
        child.log("mine", 1)
        parent = child.parent
        assert parent is not None
        parent.log("best", 2)
    assert parent.id == run.id
    assert run.parent is None
    assert child.name == "child"
    assert run.get_metrics() == {"best": 2}
    assert child.get_metrics() == {"mine": 1}


def test_children_are_created_by_count_or_by_tag(run: Run) -> None:
    assert len(run.create_children(3)) == 3
    tagged = run.create_children(tag_key="alpha", tag_values=[0.1, 0.2])
    assert [child.tags for child in tagged] == [{"alpha": "0.1"}, {"alpha": "0.2"}]
    with pytest.raises(ValueError, match="either count, or tag_key with tag_values"):
        run.create_children()
    with pytest.raises(ValueError, match="either count, or tag_key with tag_values"):
        run.create_children(2, tag_key="alpha", tag_values=[1])


def test_children_are_found_by_tag_and_status(run: Run) -> None:
    """Newest first; `recursive` gives theirs, too."""
    first, second = run.create_children(tag_key="n", tag_values=[1, 2])
    grandchild = first.child_run()
    second.complete()

    def ids(**wanted: object) -> set[str]:
        found = run.get_children(**wanted)  # type: ignore[arg-type]
        return {child.id for child in found}

    assert ids() == {first.id, second.id}
    assert ids(tags={"n": "2"}) == {second.id}
    assert ids(status="Completed") == {second.id}
    assert ids(recursive=True) == {first.id, second.id, grandchild.id}
    assert all(isinstance(child, Run) for child in run.get_children())
