"""Work of Spark's that may take hours: told how far it is, and ended by Ctrl-C.

A call of Spark's that is interrupted on its way leaves its connection to Java with an answer that nobody
reads, and the next call would take it for its own. So the thread that may be interrupted calls nothing while
it waits.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TICK_S = 0.2
_END_S = 60.0  # for work that was told to end


def in_thread(
    work: Callable[[], None], end: Callable[[], object], beside: Callable[[], None] | None = None
) -> None:
    """Do work in a thread; an interruption tells it to end, waits until it has ended, and goes on up.

    `beside` is called now and then, in another thread.
    """
    failure: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # raised again in the thread that waits
            failure.append(error)
        finally:
            over.set()

    def look() -> None:
        while beside is not None and not over.wait(_TICK_S):
            beside()

    threads = [threading.Thread(target=target, name="spark", daemon=True) for target in (run, look)]
    for thread in threads:
        thread.start()
    try:
        while threads[0].is_alive():
            threads[0].join(_TICK_S)
    except BaseException:
        end()
        threads[0].join(_END_S)
        raise
    finally:
        threads[1].join(_END_S)
    if failure:
        raise failure[0]


def run_job(
    spark: SparkSession, work: Callable[[], None], progress: Callable[[int, int], None] | None = None
) -> None:
    """Do work of a batch, and tell tasks done and tasks in all now and then.

    After a failure or an interruption, its tasks are over as well: what they wrote can be removed for good.
    """
    tag = f"proto_model-{uuid.uuid4().hex[:8]}"

    def tagged() -> None:
        spark.addTag(tag)
        work()

    def tell() -> None:
        done, total = _tasks(spark)
        if progress is not None and total:
            progress(done, total)

    told = hasattr(spark, "_jvm")  # a Spark Connect server does not tell
    try:
        in_thread(tagged, lambda: spark.interruptTag(tag), tell if told and progress is not None else None)
    except BaseException:
        if told:
            _wait_for_tasks(spark)
        raise


def n_running(spark: SparkSession) -> int:
    """Tasks that executors have, killed ones that have not ended included.

    Asked of the scheduler: what Spark tells of its executors may be a tenth of a second old, or older.
    """
    context: Any = spark.sparkContext._jsc.sc()
    counts = context.taskScheduler().runningTasksByExecutors().values().iterator()
    total = 0
    while counts.hasNext():
        total += counts.next()
    return total


def _wait_for_tasks(spark: SparkSession) -> None:
    """Wait until no executor has a task, which may be two seconds after the end of its job."""
    deadline = time.monotonic() + _END_S
    while n_running(spark) and time.monotonic() < deadline:
        time.sleep(_TICK_S)


def _tasks(spark: SparkSession) -> tuple[int, int]:
    """Tasks done and tasks in all of the stages that run."""
    tracker: Any = spark.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    stages = [stage for stage in stages if stage is not None]
    return sum(stage.numCompletedTasks for stage in stages), sum(stage.numTasks for stage in stages)
