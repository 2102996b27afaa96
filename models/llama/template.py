"""Chat messages to tokens, through the GGUF's own template; player text stays text.

The template is rendered with a stand-in for each message's content, so that it is known which part
of the prompt is the template's and which is somebody's words. Control tokens are recognised in the
template's part only.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import Extension
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from models.errors import RequestRefused
from models.llama.library import Vocabulary
from models.llama.thinking import MARKS

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHATML_STOPS = ("<|im_end|>", "<|im_start|>")

# A white-space character no template contains: it shows whether the template trims contents.
_PAD = "\u2003"
_MARK = re.compile(f"({_PAD}?)\ue000(\\d+)\ue001({_PAD}?)")

_BEGINNINGS, _LONGEST_BEGINNING = 64, 32_768
"""Beginnings of prompts whose tokens are kept, and the characters of the longest."""

Pair = tuple[str, str]
"""(role, content)."""


class _Refusal(TemplateError):
    pass


class _Generation(Extension):
    """`{% generation %}`, which marks the assistant's words for training: rendered as if it weren't there.

    Transformers' own (utils/chat_template_utils.py, AssistantTracker); SmolLM3's template has it.
    """

    tags = {"generation"}  # noqa: RUF012  # jinja2 declares it so

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> None:
    raise _Refusal(str(message)[:200])


class ChatTemplate:
    """Renders and tokenises conversations for one model.

    `source` is the GGUF's template text; '' or one that renders nothing usable falls back to
    ChatML. `stops` are strings that must end a reply because no token does; `opens_thought` is the
    mark of a thinking model's hidden reasoning that its prompts end with, b"" for none.
    """

    def __init__(self, source: str, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._beginnings: OrderedDict[str, list[int]] = OrderedDict()
        self.note = "the GGUF's own"
        self.stops: tuple[str, ...] = ()
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
        )
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda _format: ""
        self._merges = False
        trial = [("system", "a"), ("user", "b")]
        try:
            self._template = environment.from_string(source) if source else None
            if self._template is not None and len(self._segments(trial)) < 2:
                self._template = None
        except Exception as error:
            # It is a program out of the file: compiling and running it may raise anything.
            self._template = None
            self.note = f"ChatML, since the GGUF's own fails: {str(error)[:200]}"
        if self._template is None:
            if not source:
                self.note = "ChatML, since the GGUF has none"
            elif self.note == "the GGUF's own":
                self.note = "ChatML, since the GGUF's own leaves the messages out"
            self._template = environment.from_string(CHATML)
            self.stops = CHATML_STOPS
        self._merges = self._moves_the_system()
        last, _ = self._segments(trial)[-1]
        end = last.rstrip().encode()
        self.opens_thought = next((mark for mark in MARKS if end.endswith(mark)), b"")

    def tokens(self, messages: Sequence[Pair]) -> list[int]:
        """The prompt of a conversation, up to where the assistant's reply begins.

        Raises RequestRefused when the template refuses the order of the messages.
        """
        try:
            segments = self._segments(messages)
        except TemplateError as error:
            raise RequestRefused(
                f"the model's chat template refuses the messages: {error}"
            ) from error
        vocabulary = self._vocabulary
        seam = self._seam(segments)
        if seam is not None:
            # Tokenised whole, as the model was trained, since no control token touches a content.
            tokens = self._whole("".join(text for text, _ in segments), seam)
        else:
            tokens = []
            for text, ours in segments:
                if ours:
                    tokens += vocabulary.tokenise(text, control=True)
                else:
                    for part in self._broken(text):
                        tokens += vocabulary.tokenise(part, control=False)
        if vocabulary.adds_bos and tokens[:1] != [vocabulary.bos]:
            tokens.insert(0, vocabulary.bos)
        return tokens

    def _segments(self, messages: Sequence[Pair]) -> list[tuple[str, bool]]:
        """(text, is the template's) in order, for messages or, if that won't do, with the system's merged."""
        merged = self._merged(messages)
        if self._merges and merged is not None:
            return self._render(merged)
        try:
            return self._render(messages)
        except TemplateError:
            if merged is None:
                raise
            return self._render(merged)

    def _merged(self, messages: Sequence[Pair]) -> list[Pair] | None:
        """The messages with the system's words before the user's first, None where no user's follow them."""
        if [role for role, _ in messages[:2]] != ["system", "user"]:
            return None
        return [("user", f"{messages[0][1]}\n\n{messages[1][1]}"), *messages[2:]]

    def _moves_the_system(self) -> bool:
        """Whether the system's words move behind earlier turns, to the last line, as Mistral's templates have it.

        A persona that moves with every line would be read anew with every line.
        """
        turns = [("system", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
        try:
            first = next(text for text, ours in self._render(turns) if not ours)
        except TemplateError:
            return False
        return first != "a"

    def _render(self, messages: Sequence[Pair]) -> list[tuple[str, bool]]:
        assert self._template is not None
        stand_ins: list[dict[str, Any]] = [
            {"role": role, "content": f"{_PAD}\ue000{index}\ue001{_PAD}"}
            for index, (role, _) in enumerate(messages)
        ]
        try:
            rendered = self._template.render(
                messages=stand_ins,
                add_generation_prompt=True,
                bos_token=self._vocabulary.text(self._vocabulary.bos),
                eos_token=self._vocabulary.text(self._vocabulary.eos),
                tools=None,
                documents=None,
                enable_thinking=False,
            )
        except TemplateError:
            raise
        except Exception as error:
            # What Python raises inside a template is told of like what the template raises itself.
            raise _Refusal(f"it fails with {type(error).__name__}: {str(error)[:200]}") from error
        segments: list[tuple[str, bool]] = []
        seen: set[int] = set()
        at = 0
        for match in _MARK.finditer(rendered):
            if match.start() > at:
                segments.append((rendered[at : match.start()], True))
            index = int(match.group(2))
            content = messages[index][1]
            trimmed = not (match.group(1) and match.group(3))
            segments.append((content.strip() if trimmed else content, False))
            seen.add(index)
            at = match.end()
        if at < len(rendered):
            segments.append((rendered[at:], True))
        if len(seen) < len(messages):
            raise _Refusal("a message was left out")
        return segments

    def _whole(self, text: str, seam: int) -> list[int]:
        """The tokens of a plain prompt; those before the seam, a persona that many share, are kept.

        Text on both sides of a control token is tokenised apart. That is tried at the first prompt of
        each beginning, since some vocabularies strip white space across the seam.
        """
        tokenise = self._vocabulary.tokenise
        seam = seam if seam <= _LONGEST_BEGINNING else 0
        beginning, rest = text[:seam], text[seam:]
        known = self._beginnings.get(beginning)
        if known is not None:
            self._beginnings.move_to_end(beginning)
            return [*known, *tokenise(rest, control=True)]
        tokens = tokenise(text, control=True)
        if seam:
            apart = tokenise(beginning, control=True)
            if tokens == apart + tokenise(rest, control=True):
                self._beginnings[beginning] = apart
                if len(self._beginnings) > _BEGINNINGS:
                    self._beginnings.popitem(last=False)
        return tokens

    def _seam(self, segments: Sequence[tuple[str, bool]]) -> int | None:
        """Where the first control token after the first content ends, if another content follows; else 0.

        None when a control token's text lies in, or reaches into, a content.
        """
        markers = self._vocabulary.markers
        if markers is None:
            return 0
        spans: list[tuple[int, int]] = []
        at = 0
        for text, ours in segments:
            if not ours:
                spans.append((at, at + len(text)))
            at += len(text)
        whole = "".join(text for text, _ in segments)
        found = [match.span() for match in markers.finditer(whole)]
        if any(
            begin < end_span and start_span < end
            for begin, end in found
            for start_span, end_span in spans
        ):
            return None
        if len(spans) < 2:
            return 0
        return next((end for _, end in found if spans[0][1] < end < spans[1][0]), 0)

    def _broken(self, content: str) -> list[str]:
        """A content cut inside every text that could be taken for a control token."""
        markers = self._vocabulary.markers
        if markers is None:
            return [content]
        cuts = [0]
        at = 0
        while (match := markers.search(content, at)) is not None:
            cuts.append(match.start() + 1)
            at = match.start() + 1
        cuts.append(len(content))
        return [content[a:b] for a, b in pairwise(cuts) if b > a]
