"""The product, with one more address: an authenticated view that does nothing. What gunicorn serves for api.py."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

settings.ROOT_URLCONF = __name__
application = get_wsgi_application()

from django.urls import include, path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Empty(APIView):
    """Reads the body, knows the caller, counts the request, answers nothing: what every view costs at least."""

    def post(self, request):
        return Response({"read": len(request.data)})


urlpatterns = [path("api/empty", Empty.as_view()), path("", include("config.urls"))]
