"""``python3 -m tephra.silos``: the controller of one vSilo. TERM ends it after what is under way is handed over."""

import asyncio
import logging
import os
import signal
import sys

from tephra.pod import logs
from tephra.silos import config
from tephra.silos.runtime import Runtime


async def _serve(settings: config.Settings) -> None:
    work = asyncio.create_task(Runtime(settings).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("stopped")


def main() -> int:
    """Run until TERM; 2 when the pod was started wrongly."""
    try:
        settings = config.read(os.environ)
        logs.set_up(text=settings.text_logs, silo=settings.silo)
        asyncio.run(_serve(settings))
    except (config.ConfigError, OSError) as error:
        print(f"tephra.silos: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
