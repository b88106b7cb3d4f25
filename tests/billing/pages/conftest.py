from tests.people import member, owner, stranger

__all__ = ["member", "owner", "stranger"]
