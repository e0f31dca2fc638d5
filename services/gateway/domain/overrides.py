"""Overrides: what a trainer has a question answered with, instead of what its assistant answers with."""

from dataclasses import dataclass, replace

from services.common.access import Role, Roles, check_role
from services.common.errors import InvalidArgument
from services.gateway.domain.assistants import Assistant, is_name


class InvalidOverride(InvalidArgument):
    """No adapter can have such a name, or one is named beside the base model."""

    reason = "INVALID_OVERRIDE"


@dataclass(frozen=True, slots=True)
class Override:
    """Another adapter, or none, or no retrieval. An adapter of None is the assistant's."""

    adapter: str | None = None
    base_model: bool = False
    without_retrieval: bool = False

    def of(self, assistant: Assistant) -> Assistant:
        """Return the assistant as it answers under this.

        Raises:
            InvalidOverride: nothing can answer so.
        """
        if self.adapter is not None and self.base_model:
            raise InvalidOverride("an adapter is named, and the base model is asked for")
        if self.adapter is not None and not is_name(self.adapter):
            raise InvalidOverride("no adapter has such a name")
        adapter = "" if self.base_model else assistant.adapter if self.adapter is None else self.adapter
        return replace(
            assistant, adapter=adapter, without_retrieval=assistant.without_retrieval or self.without_retrieval
        )


def overridden(assistant: Assistant, override: Override | None, roles: Roles) -> Assistant:
    """Return the assistant as it answers a caller who has `roles`; without an override, as it is.

    Raises:
        RoleRequired: only trainers may override.
        InvalidOverride: nothing can answer so.
    """
    if override is None:
        return assistant
    check_role(roles, Role.TRAINER)
    return override.of(assistant)
