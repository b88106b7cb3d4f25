"""The addresses of the site, and the probe's."""

from django.urls import path

from config import urls
from tests.tools_registry.test_runs import PROBE
from tools_registry.api import run_view

handler400, handler403, handler404, handler500 = urls.handler400, urls.handler403, urls.handler404, urls.handler500
urlpatterns = [path(f"api/{PROBE.slug}/run", run_view(PROBE).as_view()), *urls.urlpatterns]
