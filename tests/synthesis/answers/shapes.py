"""Answers as models give them: how each is wrapped, and what it means or why it means nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass

PARENT = """import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, x):
        y = x * 2.0
        y = y + 1.0
        return y * self.scale
"""
WHOLE = """import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.addcmul(x, x, x)
"""
CHANGED = PARENT.replace("x * 2.0", "x * 3.0")
ALIAS = "import torch\nclass Fast(torch.nn.Module): pass\nModelNew = Fast\n"
OLD, NEW = "        y = x * 2.0", "        y = x * 3.0"
WITH_FENCES = f'"""Use it so:\n\n```\nModelNew()(x)\n```\n"""\n\n{WHOLE}'
COMPARING = WHOLE.replace("return torch.addcmul(x, x, x)", 'return x if x.sum() < 1 and "a" > "&" else -x')
MARKED = """import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        # EVOLVE-BLOCK-START
        y = x * 2.0
        # EVOLVE-BLOCK-END
        return y
"""
MARKED_CHANGED = MARKED.replace("x * 2.0", "x * 3.0")


@dataclass(frozen=True)
class Shape:
    """`want`: the source; None: `error` is among the words that say why there is none."""

    name: str
    text: str
    want: str | None = WHOLE
    error: str = ""
    parent: str | None = PARENT
    cut_off: bool = False


def fenced(text: str, info: str = "python", fence: str = "```") -> str:
    return f"{fence}{info}\n{text.rstrip()}\n{fence}\n"


def block(old: str, new: str) -> str:
    return f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def indented(text: str, by: str = "    ") -> str:
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


def dedented(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


HUNK = """@@ -10,4 +10,4 @@
     def forward(self, x):
-        y = x * 2.0
+        y = x * 3.0
         y = y + 1.0
"""
DIFF = f"--- a/kernel.py\n+++ b/kernel.py\n{HUNK}"

WHOLE_FILES = [
    Shape("fenced", fenced(WHOLE)),
    Shape("fenced without a language", fenced(WHOLE, "")),
    Shape("fenced as py", fenced(WHOLE, "py")),
    Shape("fenced as Python in capitals", fenced(WHOLE, "Python")),
    Shape("fenced with attributes", fenced(WHOLE, 'python title="kernel.py"')),
    Shape("fenced with braces", fenced(WHOLE, "python{.line-numbers}")),
    Shape("fenced with tildes", fenced(WHOLE, fence="~~~")),
    Shape("fenced with four backquotes around three", fenced(WITH_FENCES, fence="````"), WITH_FENCES),
    Shape("fenced by three with three inside", fenced(WITH_FENCES), WITH_FENCES),
    Shape("prose around", f"Here is the kernel:\n\n{fenced(WHOLE)}\nIt fuses both.\n"),
    Shape("bare", WHOLE),
    Shape("bare, no parent", WHOLE, parent=None),
    Shape("bare with prose before", f"Here is a faster kernel.\n\n{WHOLE}"),
    Shape("bare with prose behind", f"{WHOLE}\n\nThis kernel fuses the product, and so it is faster.\n"),
    Shape("bare with prose around", f"Sure! Here it is:\n\n{WHOLE}\n\nLet me know if it's slow.\n"),
    Shape("ends of lines of Windows", fenced(WHOLE).replace("\n", "\r\n")),
    Shape("a byte order mark and spaces that cannot be seen", "\ufeff" + fenced(WHOLE).replace("class ", "\u200bclass ")),
    Shape("in a list", f"1. The kernel:\n\n{indented(fenced(WHOLE), '   ')}"),
    Shape("indented fence", indented(fenced(WHOLE), "  ")),
    Shape("an example first", f"Instead of\n{fenced('y = x + x')}\nuse\n{fenced(WHOLE)}"),
    Shape("an example last", f"{fenced(WHOLE)}\nUse it so:\n{fenced('ModelNew()(x)')}"),
    Shape("corrected in the same answer", f"{fenced(PARENT)}\nWait, this is better:\n{fenced(WHOLE)}"),
    Shape("the last one broken", f"{fenced(WHOLE)}\nor\n{fenced(WHOLE.replace('(self, x)', '(self, x'))}"),
    Shape("a shell command first", f"{fenced('pip install torch', 'bash')}\n{fenced(WHOLE)}"),
    Shape("thinking first", f"<think>\nmaybe\n{fenced('class ModelNew: pass')}\n</think>\n{fenced(WHOLE)}"),
    Shape("thinking that the template had opened", f"maybe this way\n</think>\n\n{fenced(WHOLE)}"),
    Shape("thinking by another name", f"<reasoning>\nhm\n</reasoning>\n{fenced(WHOLE)}"),
    Shape("thinking with attributes", f'<thinking mode="deep">\nhm\n</thinking>\n{fenced(WHOLE)}'),
    Shape(
        "channels",
        f"<|channel|>analysis<|message|>class ModelNew<|end|><|start|>assistant<|channel|>final<|message|>{fenced(WHOLE)}<|return|>",
    ),
    Shape("tokens of a template", f"<|im_start|>{fenced(WHOLE)}<|im_end|></s>"),
    Shape("in a tag", f"<code>\n{WHOLE}</code>"),
    Shape("in a tag with attributes and prose", f'Here:\n<file path="kernel.py">\n{WHOLE}</file>\nDone.'),
    Shape("a fence in a tag", f"<answer>\n{fenced(WHOLE)}</answer>"),
    Shape("as JSON", json.dumps({"thought": "fuse", "code": WHOLE})),
    Shape("as fenced JSON", fenced(json.dumps({"kernel": WHOLE}), "json")),
    Shape("a list in JSON", json.dumps([WHOLE])),
    Shape("escaped for HTML", fenced(COMPARING.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")), COMPARING),
    Shape("signs of HTML in its code", fenced(COMPARING), COMPARING),
    Shape("an alias of the class", fenced(ALIAS), ALIAS),
    Shape("no end of the last line", fenced(WHOLE).rstrip()),
]  # fmt: skip

NO_FILES = [
    Shape("nothing", "  \n", None, "the answer is empty"),
    Shape("nothing but thinking", "<think>I wonder</think>", None, "the answer is empty"),
    Shape("thinking without end", f"<think>\n{fenced(WHOLE)}", None, "during reasoning"),
    Shape("a channel without its end", "<|channel|>analysis<|message|>hm", None, "before its final part"),
    Shape("prose alone", "I cannot make this any faster.", None, "no file that defines class ModelNew"),
    Shape("another class", fenced(WHOLE.replace("ModelNew", "Model")), None, "no file that defines class ModelNew"),
    Shape("C++ alone", fenced("#include <cmath>\nvoid run() {}", "cpp"), None, "a file in cpp alone does not run"),
    Shape("cut off in a fence", f"```python\n{WHOLE[:90]}", None, "cut off", cut_off=True),
    Shape("cut off in a fence, nobody said so", f"```python\n{WHOLE[:120]}", None, "cut off"),
    Shape("cut off without a fence", WHOLE[:80], None, "cut off at the limit on its length", cut_off=True),
    Shape("no Python", fenced(WHOLE.replace("(self, x)", "(self, x")), None, "no valid Python"),
    Shape("nothing changed", fenced(PARENT), None, "changes nothing"),
]

EDITS = [
    Shape("a block", block(OLD, NEW), CHANGED),
    Shape("a fenced block", fenced(block(OLD, NEW), "diff"), CHANGED),
    Shape("a block with prose", f"I change the factor.\n\n{block(OLD, NEW)}\nThat is all.", CHANGED),
    Shape("parts fenced apart", block(fenced(OLD).rstrip(), fenced(NEW).rstrip()), CHANGED),
    Shape("two blocks", block(OLD, NEW) + block("        y = y + 1.0", "        y = y - 1.0"), CHANGED.replace("y + 1.0", "y - 1.0")),
    Shape("the second needs the first", block(OLD, NEW) + block(NEW, "        y = x"), PARENT.replace("x * 2.0", "x")),
    Shape("empty lines around", block(f"\n{OLD}\n", f"\n{NEW}\n"), CHANGED),
    Shape("lines taken out", block("        y = y + 1.0\n", ""), PARENT.replace("        y = y + 1.0\n", "")),
    Shape("fewer signs", block(OLD, NEW).replace("<<<<<<<", "<<<<<").replace("=======", "=====").replace(">>>>>>>", ">>>>>"), CHANGED),
    Shape("a name behind the sign", block(OLD, NEW).replace("SEARCH", "SEARCH kernel.py"), CHANGED),
    Shape("ends of lines of Windows in a block", block(OLD, NEW).replace("\n", "\r\n"), CHANGED),
    Shape("spaces at the end of a line", block(OLD + "   ", NEW), CHANGED),
    Shape("not indented as it stands", block(dedented(OLD), dedented(NEW)), CHANGED),
    Shape("thinking before a block", f"<think>{block('a', 'b')}</think>{block(OLD, NEW)}", CHANGED),
    Shape("a diff", DIFF, CHANGED),
    Shape("a fenced diff", f"The change:\n\n{fenced(DIFF, 'diff')}\nIt is small.", CHANGED),
    Shape("a fenced patch", fenced(DIFF, "patch"), CHANGED),
    Shape("a diff in a fence without a name", fenced(DIFF, ""), CHANGED),
    Shape("a diff without a head", fenced(HUNK, "diff"), CHANGED),
    Shape("a diff without numbers", fenced(HUNK.replace("@@ -10,4 +10,4 @@", "@@"), "diff"), CHANGED),
    Shape("a diff with wrong numbers", fenced(HUNK.replace("-10,4 +10,4", "-200,9 +3,1"), "diff"), CHANGED),
    Shape("a diff of git", fenced(f"diff --git a/kernel.py b/kernel.py\nindex 12ab..34cd 100644\n{DIFF}", "diff"), CHANGED),
    Shape("a diff with a context of no space", fenced(f"{HUNK}         return y * self.scale\n\n", "diff"), CHANGED),
    Shape("inside of markers", block("        y = x * 2.0", "        y = x * 3.0"), MARKED_CHANGED, parent=MARKED),
    Shape("a whole file that keeps what is marked", fenced(MARKED_CHANGED), MARKED_CHANGED, parent=MARKED),
]  # fmt: skip

NO_EDITS = [
    Shape("lines that are not there", block("        z = 1", NEW), None, "not in the file"),
    Shape("lines that stand twice", block("y", "z"), None, "stand 2 times", parent="y\nclass ModelNew: pass\ny\n"),
    Shape("nothing to find", block("", NEW), None, "says nothing of where it belongs"),
    Shape("nothing to edit", block(OLD, NEW), None, "no file yet", parent=None),
    Shape("a block without its end", block(OLD, NEW).replace(">>>>>>> REPLACE", ""), None, "cut off"),
    Shape("a block without its middle", block(OLD, NEW).replace("=======\n", ""), None, "has no ======="),
    Shape("a block in a block", block(block(OLD, NEW), NEW), None, "begins anew"),
    Shape("the second is cut off", block(OLD, NEW) + "<<<<<<< SEARCH\n        y = y", None, "block 2 is cut off", cut_off=True),
    Shape("the same in its place", block(OLD, OLD), None, "changes nothing"),
    Shape("one of two is not there", block(OLD, NEW) + block("        z = 1", NEW), None, "block 2 of 2"),
    Shape("a diff that fits nowhere", fenced(HUNK.replace("x * 2.0", "x / 2.0"), "diff"), None, "not in the file"),
    Shape("a diff without its end", f"```diff\n{HUNK}", None, "cut off"),
    Shape("a diff that changes nothing", fenced("@@ -1 +1 @@\n import torch\n", "diff"), None, "changes nothing"),
    Shape("a diff of two files", fenced(DIFF + DIFF.replace("kernel.py", "other.py"), "diff"), None, "several files"),
    Shape("a diff with a stray line", fenced(HUNK.replace(" " * 9 + "y = y", "y = y"), "diff"), None, "begins with neither"),
    Shape("outside of markers", block("        return y", "        return -y"), None, "EVOLVE-BLOCK", parent=MARKED),
    Shape("a marker taken out", fenced(MARKED.replace("# EVOLVE-BLOCK-END", "")), None, "counterpart", parent=MARKED),
    Shape("a whole file without what is marked", fenced(WHOLE), None, "EVOLVE-BLOCK", parent=MARKED),
]  # fmt: skip

SHAPES = WHOLE_FILES + NO_FILES + EDITS + NO_EDITS
