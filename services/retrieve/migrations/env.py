"""Runs this service's migrations on the connection that the service opened."""

from services.common import migrations

migrations.run()
