"""Who executes jobs here: each provider by its name. Which of them people may choose is routes.py's to say.

To add one: copy the nearest module, name it in PROVIDERS, and list it under its operations in DEFAULT_PROVIDERS of
config/settings.py.
"""

from contextlib import suppress

from django.conf import settings
from django.utils.module_loading import import_string

from generations.providers.base import NotOffered, Provider

# Paths, not classes: the renderer's and the stand-in's processes import this package without Django being set up.
PROVIDERS = {
    "local": "generations.providers.local.Local",
    "openai": "generations.providers.openai.OpenAI",
    "comfyui": "generations.providers.comfyui.ComfyUI",
    "rehearsal": "generations.providers.rehearsal.Rehearsal",
}
# Where the setting is empty, the provider is not there, and its module is not even loaded: OpenAI's SDK is large.
NEEDS = {"openai": "OPENAI_API_KEY", "comfyui": "COMFYUI_URLS"}


def get(name: str) -> Provider:
    """The provider of that name, also for jobs it was given earlier. Raises NotOffered where it is not set up here."""
    if name not in PROVIDERS:
        raise NotOffered(f"There is no provider {name!r}; there are {', '.join(sorted(PROVIDERS))}.")
    if name in NEEDS and not getattr(settings, NEEDS[name]):
        raise NotOffered(f"{NEEDS[name]} is not set.")
    provider: Provider = import_string(PROVIDERS[name])()
    return provider


def costing() -> list[str]:
    """The names of those whose bill is real money. One that is not set up any more may have been, so it counts."""
    found = []
    for name in PROVIDERS:
        try:
            is_real = get(name).is_real
        except NotOffered:
            is_real = True
        if is_real:
            found.append(name)
    return found


def load() -> None:
    """The modules of all providers that are set up here are loaded, for whatever is forked from this process."""
    for name in PROVIDERS:
        with suppress(NotOffered):
            get(name)
