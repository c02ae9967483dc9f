"""Runner processes on the CPU: forked, confined, stopped whenever they are not asked."""
