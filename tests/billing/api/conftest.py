from tests.people import member, nobody, owner, stranger

__all__ = ["member", "nobody", "owner", "stranger"]
