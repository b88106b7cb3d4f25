from django.urls import URLPattern, URLResolver, path

from . import pages as page

pages: list[URLPattern | URLResolver] = [
    path("outputs/<str:signed>", page.output, name="output"),
]

api: list[URLPattern | URLResolver] = []

urlpatterns = [*pages, *api]
