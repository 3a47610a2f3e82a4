"""Another model without a gap: loaded and warmed up beside the one that serves, and put in its place when it is good.

    asked for (SIGHUP, or a changed file) -> loaded in a thread -> warmed up -> golden photographs -> switched
    anything fails on the way             -> the one that serves goes on, and the log says why

Requests keep the detector that they began with. The old one lets go of its threads when the last of them has ended, so
while both are there they take the memory of two.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter

from service.detector import Detector
from service.errors import ServiceError
from service.loading import Loaded, load, stamp
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger(__name__)

LOOK_S = 1.0
# How long the old one's requests are waited for when the process ends; uvicorn has waited for them before.
STOP_GRACE_S = 5.0


class Swap:
    """Puts models in the place of others. Must be made inside a running event loop.

    Attributes:
        detector: the one that serves.
    """

    def __init__(
        self,
        detector: Detector,
        settings: Settings,
        metrics: Metrics,
        switch: Callable[[Loaded, Detector], None],
        warming: asyncio.Task[None],
    ) -> None:
        """`switch` makes requests from then on begin with that detector, between two steps of the event loop.

        Nothing is swapped before `warming`, which makes `detector` ready, has ended.
        """
        self._warming = warming
        self.detector = detector
        self._settings = settings
        self._metrics = metrics
        self._switch = switch
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self._retired: list[Detector] = []

    @property
    def has_let_go(self) -> bool:
        """Whether the threads of all that served before have come back."""
        return all(each.inference.stopped for each in self._retired)

    def begin(self) -> None:
        """Begins a swap, and returns at once."""
        self._keep(self.swap(), "swap")

    async def swap(self) -> bool:
        """Whether the model, as its file is now, serves from now on. If not, everything is as it was."""
        async with self._one_at_a_time:
            await asyncio.wait([self._warming])
            began = perf_counter()
            log.info("another model is loaded")
            try:
                loaded, fresh = await self._prepared()
            except asyncio.CancelledError:
                raise
            # Whatever is wrong with the new one is no reason to lose the old one.
            except Exception as error:
                reason = error.detail if isinstance(error, ServiceError) else repr(error)
                log.error("the model stays", extra={"fields": {"reason": reason}})
                self._metrics.swaps.labels("failed").inc()
                return False
            old, self.detector = self.detector, fresh
            self._switch(loaded, fresh)
            self._metrics.swaps.labels("done").inc()
            manifest = fresh.manifest
            fields = {"model": manifest.name, "version": manifest.version}
            fields["seconds"] = f"{perf_counter() - began:.3f}"
            log.info("another model serves", extra={"fields": fields})
            self._retired = [each for each in self._retired if not each.inference.stopped]
            self._retired.append(old)
            self._keep(old.retire(), "retire")
            return True

    async def watch(self) -> None:
        """Swaps when the file has changed and is as it was a second ago; until cancelled."""
        served = seen = await asyncio.to_thread(stamp, self._settings)
        while True:
            await asyncio.sleep(LOOK_S)
            now = await asyncio.to_thread(stamp, self._settings)
            # A file that is still being written changes from look to look.
            if now and now == seen and now != served:
                served = now
                await self.swap()
            seen = now

    async def stop(self) -> None:
        """Gives up what is being prepared, and waits for what served before."""
        for task in self._tasks:
            if task.get_name() == "swap":
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)

    async def _prepared(self) -> tuple[Loaded, Detector]:
        """The model of the file and a detector for it, warm and with the right answers."""
        loaded = await asyncio.to_thread(load, self._settings)
        # What shares the cores best is known, and could not be measured beside the one that serves.
        layouts = self.detector.inference.layouts
        fresh = Detector(loaded.engine, self._settings, self._metrics, layouts)
        try:
            await fresh.warm_up()
            closed = self.detector.readiness.closed
            if closed is not None and closed.reason == "draining":
                raise closed
        except BaseException:
            # Its threads come back also when the process is about to end.
            await asyncio.shield(fresh.stop())
            raise
        return loaded, fresh

    def _keep(self, work: "Awaitable[object]", name: str) -> None:
        async def quiet() -> object:
            with suppress(asyncio.CancelledError):
                return await work
            return None

        task = asyncio.create_task(quiet(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
