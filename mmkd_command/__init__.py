"""The command ``mmkd``, outside of the package mmkd: it starts fast, and also where mmkd cannot be imported."""
