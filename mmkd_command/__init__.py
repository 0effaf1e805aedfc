"""The command ``mmkd``. It lies beside the package, so that it answers at once, and also where mmkd cannot start."""
