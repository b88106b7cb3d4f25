from django.urls import URLPattern, URLResolver, path

from . import api as of_api
from . import pages as page
from . import registry

pages: list[URLPattern | URLResolver] = [
    path("studio", page.studio, name="studio"),
    path("studio/runs", page.history, name="tool_runs"),
    path("studio/runs/<uuid:id>", page.run, name="tool_run"),
    path("studio/<slug:studio>/<slug:name>", page.tool, name="tool"),
    path("studio/<slug:studio>/<slug:name>/estimate", page.estimate, name="tool_estimate"),
]

api: list[URLPattern | URLResolver] = [
    path("api/tools", of_api.Tools.as_view(), name="api_tools"),
    path("api/tools/<slug:studio>/<slug:name>", of_api.OneTool.as_view(), name="api_tool"),
    path("api/tool-runs", of_api.Runs.as_view(), name="api_tool_runs"),
    path("api/tool-runs/<uuid:id>", of_api.OneRun.as_view(), name="api_tool_run"),
    path("api/tool-runs/<uuid:id>/files/<str:name>", of_api.RunFile.as_view(), name="api_tool_run_file"),
    *(path(f"api/{slug}/run", of_api.run_view(tool).as_view()) for slug, tool in registry.TOOLS.items()),
]

urlpatterns = [*pages, *api]
