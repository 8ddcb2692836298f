"""Work on items in threads, so many at a time that memory stays bounded; they come back in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
IN_FLIGHT = 8  # items per worker


def side_by_side(work: Callable[[T], object], items: Iterable[T], workers: int) -> Iterator[T]:
    """Each item once `work` on it has ended; the first error, or the caller's `close`, drops what has not begun."""
    pending: deque[tuple[T, Future]] = deque()

    def ended() -> T:
        item, future = pending.popleft()
        future.result()
        return item

    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) >= IN_FLIGHT * workers:
                    yield ended()
            while pending:
                yield ended()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
