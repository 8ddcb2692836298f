"""Runs a function on many items in threads, with bounded memory and in the items' order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
IN_FLIGHT = 8  # items per worker


def run_in_threads(work: Callable[[T], object], items: Iterable[T], workers: int) -> Generator[T, None, None]:
    """Yield each item, in order, once `work` on it has ended.

    The first error ends the loop, and so does the caller's `close`: items that no thread has begun are dropped.
    """
    pending: deque[tuple[T, Future[object]]] = deque()

    def finish_first() -> T:
        item, future = pending.popleft()
        future.result()
        return item

    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) >= IN_FLIGHT * workers:
                    yield finish_first()
            while pending:
                yield finish_first()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
