"""How properties are tested here: nothing depends on how fast the machine is. No fixtures."""

from hypothesis import HealthCheck, settings

settings.register_profile("hubbub", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hubbub")
