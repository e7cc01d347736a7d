-- purpose: leave nothing behind on a session that may be somebody else's next.
UNLISTEN *
