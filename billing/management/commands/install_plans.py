from typing import Any

from django.core.management.base import BaseCommand

from billing import plans


class Command(BaseCommand):
    help = "Puts the shipped plans where there are none of that name yet; never touches what staff have made."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{plans.install()} plans installed")
