"""Texts of several callers share one decoding batch, bounded in padded tokens.

Nothing is delayed so that a batch fills: while the model is busy, texts wait, and whatever waits
when it is free again is the next batch.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from kdray.model.generate import SearchOptions
from kdray.model.memory import halve, is_out_of_memory
from kdray.translation.texts import Translated

Translate = Callable[[Sequence[str], SearchOptions], list[Translated]]


class QueueFull(Exception):
    """More texts wait than may; whoever asked should come again later."""


@dataclass(slots=True, eq=False)
class _Waiting:
    text: str
    tokens: int
    options: SearchOptions
    answer: "asyncio.Future[Translated]"


@dataclass(eq=False)
class Batches:
    """Batches of one model, in one event loop.

    Attributes:
        translate: what translates a batch; it is called in threads.
        lengths: gives the tokens of texts.
        most_tokens: gives the padded tokens of a batch: its texts times the tokens of the longest.
            A text that has more is a batch of its own.
        most_waiting: texts that may wait.
        at_once: batches that are translated side by side.
    """

    translate: Translate
    lengths: Callable[[Sequence[str]], list[int]]
    most_tokens: Callable[[], int]
    most_waiting: int
    at_once: int = 1
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _began: "dict[asyncio.Task[None], float]" = field(default_factory=dict)
    _pool: ThreadPoolExecutor | None = None

    async def answers(self, texts: Sequence[str], options: SearchOptions) -> list[Translated]:
        """Translations of texts, in their order.

        Raises:
            QueueFull: there is no room for all of them.
        """
        if len(self._waiting) + len(texts) > self.most_waiting:
            self._forget()
        if len(self._waiting) + len(texts) > self.most_waiting:
            raise QueueFull
        loop = asyncio.get_running_loop()
        asked = [
            _Waiting(text, tokens, options, loop.create_future())
            for text, tokens in zip(texts, self.lengths(texts), strict=True)
        ]
        self._waiting.extend(asked)
        self._begin()
        try:
            return list(await asyncio.gather(*(each.answer for each in asked)))
        finally:
            for each in asked:  # those whose caller has gone, or one of which failed
                each.answer.cancel()

    @property
    def busy_seconds(self) -> float:
        """For how long the oldest batch has been in translation; 0 if there is none."""
        return time.monotonic() - min(self._began.values()) if self._began else 0.0

    def end(self) -> None:
        """Let go of the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _forget(self) -> None:
        """Let go of texts whose callers have gone."""
        self._waiting = deque(each for each in self._waiting if not each.answer.done())

    def _begin(self) -> None:
        """Give every thread that is free a batch."""
        while len(self._began) < self.at_once and (batch := self._next()):
            task = asyncio.create_task(self._make(batch))
            self._began[task] = time.monotonic()
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._began[task]
        self._begin()

    def _next(self) -> list[_Waiting]:
        """The texts that wait longest and are searched alike, as many as fit into a batch."""
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
        longest, most = 0, self.most_tokens()
        while self._waiting:
            each = self._waiting.popleft()
            if each.answer.done():
                continue
            if batch and each.options != batch[0].options:
                others.append(each)
                continue
            longest = max(longest, each.tokens)
            if batch and longest * (len(batch) + 1) > most:
                others.append(each)
                break
            batch.append(each)
        self._waiting.extendleft(reversed(others))
        return batch

    async def _make(self, batch: list[_Waiting]) -> None:
        """Translate a batch; one that fails is translated text by text, to harm no other caller."""
        try:
            done = await self._in_thread(batch)
        except Exception as error:
            if is_out_of_memory(error):
                halve()
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for each in batch:
                await self._make([each])
            return
        for each, answer in zip(batch, done, strict=True):
            if not each.answer.done():
                each.answer.set_result(answer)

    async def _in_thread(self, batch: list[_Waiting]) -> list[Translated]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.at_once, thread_name_prefix="translation")
        loop = asyncio.get_running_loop()
        texts, options = [each.text for each in batch], batch[0].options
        return await loop.run_in_executor(self._pool, self.translate, texts, options)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
