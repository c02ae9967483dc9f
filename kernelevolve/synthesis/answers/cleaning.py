"""Removal of reasoning and chat template tokens from model answers."""

from __future__ import annotations

import re

from kernelevolve.synthesis.answers.errors import AnswerError

_THOUGHT = r"think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis"
_CLOSED = re.compile(rf"<({_THOUGHT})\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_LEFT_OPEN = re.compile(rf"\A\s*<({_THOUGHT})\b[^>]*>", re.IGNORECASE)
_ONLY_END = re.compile(rf"\A.*</({_THOUGHT})\s*>", re.DOTALL | re.IGNORECASE)
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|return|start|channel)\|>|\Z)", re.DOTALL
)
_TOKEN = re.compile(r"<\|[\w-]{1,40}\|>|</?s>\s*\Z")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_FENCE = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)


def cleaned(text: str) -> str:
    """Return an answer with normalized line ends, without reasoning, chat template tokens and invisible characters.

    Raises:
        AnswerError: Nothing remains, or the answer ended before its final part.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_INVISIBLE)
    channels = _CHANNEL.findall(text)
    if channels:
        final = [said for name, said in channels if name.lower() == "final"]
        if not final:
            raise AnswerError("the answer ended before its final part: think less")
        text = final[-1]
    text = _CLOSED.sub("", text)
    if _LEFT_OPEN.match(text):
        raise AnswerError("the answer ended during reasoning: think less")
    end = _ONLY_END.match(text)
    if end and not _FENCE.search(text[: end.end()]):
        text = text[end.end() :]  # Many chat templates put the opening tag into the prompt.
    text = _TOKEN.sub("", text)
    if not text.strip():
        raise AnswerError("the answer is empty")
    return text
