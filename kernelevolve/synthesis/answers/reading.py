"""Reading of a kernel source from the answer of a model."""

from __future__ import annotations

from kernelevolve.synthesis.answers.cleaning import cleaned
from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.fences import blocks
from kernelevolve.synthesis.answers.lines import Edit, applied
from kernelevolve.synthesis.answers.markers import has_markers, keep_outside
from kernelevolve.synthesis.answers.search_replace import is_search_replace, read_blocks
from kernelevolve.synthesis.answers.unified import is_diff, read_diff
from kernelevolve.synthesis.answers.whole import read_whole

_DIFFS = ("diff", "patch", "udiff")


def read_answer(text: str, parent: str | None, *, cut_off: bool = False) -> str:
    """Return the kernel source that an answer gives, as a whole file or as edits.

    Args:
        text: The answer of the model.
        parent: The source that edits apply to; None if there is none.
        cut_off: Whether the answer ended at the limit on its length.

    Raises:
        AnswerError: Edits do not fit, a part is missing, or the answer changes nothing.
    """
    try:
        text = cleaned(text)
        edits = _edits(text)
        if edits is None:
            source = read_whole(text)
        elif parent is None:
            raise AnswerError("there is no file yet that could be edited: answer with a whole one")
        else:
            source = applied(edits, parent)
    except AnswerError as error:
        if cut_off and "cut off" not in str(error) and "ended" not in str(error):
            raise AnswerError(f"the answer was cut off at the limit on its length; {error}") from error
        raise
    if parent is not None:
        if has_markers(parent):
            keep_outside(parent, source)
        if source.rstrip() == parent.rstrip():
            raise AnswerError("the answer changes nothing")
    return source


def _edits(text: str) -> list[Edit] | None:
    """Return the edits in an answer, or None if it is a whole file."""
    if is_search_replace(text):
        return read_blocks(text)
    fenced = [block for block in blocks(text) if block.info in _DIFFS or (not block.info and is_diff(block.text))]
    if fenced:
        if not fenced[-1].closed:
            raise AnswerError("the answer is cut off: its diff has no end")
        return [edit for block in fenced for edit in read_diff(block.text)]
    if not blocks(text) and is_diff(text):
        return read_diff(text)
    return None
