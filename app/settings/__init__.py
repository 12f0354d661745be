"""Every setting, read once from the environment, validated together."""

from app.settings.effective import SETTINGS, Settings, SettingsError, load
from app.settings.forms import SECRET_BYTES
from app.settings.setting import Setting

__all__ = ["SECRET_BYTES", "SETTINGS", "Setting", "Settings", "SettingsError", "load"]
