"""The admin of what is not ours: people, and Stripe's mirror to read. What shows secrets or runs code is not there.

`config` stands last in INSTALLED_APPS, so everything has been registered when this is imported.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from djstripe.models import Customer, Invoice, Price, Product, Subscription
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

# Stripe's secrets, and signature checks that could be switched off; tasks that could run any function; second factors.
HIDDEN_APPS = {"djstripe", "django_q", "mfa", "account"}
for model in [model for model in admin.site._registry if model._meta.app_label in HIDDEN_APPS]:
    admin.site.unregister(model)
admin.site.unregister([User, Group])


RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class PersonAdmin(UserAdmin, ModelAdmin):
    """People who sign in. Their money is under Accounts."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "username", "is_active", "is_staff", "date_joined")
    list_filter = ("is_active", "is_staff", "groups")
    search_fields = ("email", "username")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Nobody but a superuser gives rights, to themselves or to others."""
        read_only = super().get_readonly_fields(request, obj)
        return read_only if request.user.is_superuser else (*read_only, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever could set a colleague's password or address could sign in as them, and be their own second person."""
        may = super().has_change_permission(request, obj)
        return may and (obj is None or request.user.is_superuser or not (obj.is_staff or obj.is_superuser))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody is deleted: entries and the audit trail name them. Deactivate instead."""
        return False


@admin.register(Group)
class RoleAdmin(GroupAdmin, ModelAdmin):
    """What kinds of staff may do. A role is a right to give, so only superusers make and change them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser


class Mirror(ModelAdmin):
    """A table that Stripe's events fill. Read only."""

    list_display = ("id", "created", "livemode")
    list_filter = ("livemode",)
    search_fields = ("id",)
    exclude = ("djstripe_owner_account", "stripe_data")

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


for mirrored in (Customer, Product, Price, Subscription, Invoice):
    admin.site.register(mirrored, Mirror)
