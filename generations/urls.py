from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from . import api as of_api
from . import callbacks, delivery
from . import pages as page
from .admin import watch

pages: list[URLPattern | URLResolver] = [
    path("generate", page.generate, name="generate"),
    path("generate/estimate", page.estimate, name="estimate"),
    path("generate/<slug:kind>", page.generate, name="generate_kind"),
    path("generate/<slug:kind>/estimate", page.estimate, name="estimate_kind"),
    path("generations", page.generations, name="generations"),
    path("generations/jobs", page.jobs, name="jobs"),
    path("generations/<uuid:id>", page.generation, name="generation"),
    path("generations/<uuid:id>/live", page.generation_live, name="generation_live"),
    path("generations/<uuid:id>/cancel", page.cancel, name="generation_cancel"),
    path("generations/<uuid:id>/download", page.download, name="generation_download"),
    path("outputs/<str:signed>", delivery.output, name="output"),
    path("account/credits/statement/<uuid:id>", page.entry, name="entry"),
]

api: list[URLPattern | URLResolver] = [
    path("api/billing/estimate", of_api.Estimate.as_view(), name="api_estimate"),
    path("api/calculate-cost", of_api.Estimate.as_view(), name="api_calculate_cost"),
    path("api/generate", of_api.Generate.as_view(), name="api_generate"),
    path("api/status/<uuid:id>", of_api.Status.as_view(), name="api_status"),
    path("api/generations", of_api.Generations.as_view(), name="api_generations"),
    path("api/generations/<uuid:id>", of_api.Status.as_view(), name="api_generation"),
    path("api/generations/<uuid:id>/cancel", of_api.Cancel.as_view(), name="api_generation_cancel"),
]

staff: list[URLPattern | URLResolver] = [path("admin/watch/", admin.site.admin_view(watch.page), name="watch")]

webhooks: list[URLPattern | URLResolver] = [
    path("webhooks/providers/<str:provider>", callbacks.Callback.as_view(), name="provider_callback"),
]

urlpatterns = [*pages, *api, *staff, *webhooks]
