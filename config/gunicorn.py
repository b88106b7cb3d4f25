"""gunicorn's settings for `up`; address, folder and number of processes stand on its command line."""

import gc
import signal

from config.parent_death import forks_end_with_us
from config.settings import WEB_THREADS
from generations import providers

wsgi_app = "config.wsgi:application"
worker_class = "gthread"
threads = WEB_THREADS
preload_app = True
timeout = 60
graceful_timeout = 1
keepalive = 5
backlog = 1024
limit_request_line = 4094
control_socket_disable = True
worker_tmp_dir = "/dev/shm"  # noqa: S108 (gunicorn's heartbeat file, unlinked at once)
loglevel = "warning"


def when_ready(server: object) -> None:
    """Every worker process ends with this one."""
    forks_end_with_us(signal.SIGKILL)
    providers.load()
    gc.freeze()  # what is loaded stays: the collector need not walk it, nor the processes copy it
