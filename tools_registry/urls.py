from django.urls import URLPattern, URLResolver, path

from . import pages as page

pages: list[URLPattern | URLResolver] = [
    path("studio", page.studio, name="studio"),
    path("studio/runs", page.history, name="tool_runs"),
    path("studio/runs/<uuid:id>", page.run, name="tool_run"),
    path("studio/<slug:studio>/<slug:name>", page.tool, name="tool"),
    path("studio/<slug:studio>/<slug:name>/estimate", page.estimate, name="tool_estimate"),
]

api: list[URLPattern | URLResolver] = []

urlpatterns = [*pages, *api]
