"""Who may use the application, and what is written down of it.

Routes ask `session_of` and `is_identity_shown` about the one who asks; all else is done at the door (`guard`).
"""

from neuroscan_core.viewer.security.guard import Guard, GuardMiddleware
from neuroscan_core.viewer.security.sessions import Session, is_identity_shown, session_of

__all__ = ["Guard", "GuardMiddleware", "Session", "is_identity_shown", "session_of"]
