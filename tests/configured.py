"""Says which indexes tenants have, as a test decides."""

from services.common.indexes import IndexConfigUnavailable, TenantIndex


class Configured:
    """Every tenant has these; by default nobody ever chose."""

    def __init__(self, index: TenantIndex | None = None) -> None:
        self.index = index or TenantIndex()
        self.away = False

    async def of(self, identity: object) -> TenantIndex:
        """Return what the test says now."""
        if self.away:
            raise IndexConfigUnavailable("away")
        return self.index

    now = of
