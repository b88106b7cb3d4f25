from tests.generations.admin.conftest import second, staff
from tests.generations.conftest import catalogue

__all__ = ["catalogue", "second", "staff"]
